"""Places on a host that are filled by processes, again and again if need be."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

from kappa.config import Settings
from kappa.errors import Fenced, KappaError, Stalled, WorkerDied
from kappa.runtime.live.follow import PASSING, Following, follow
from kappa.runtime.live.observer import Observer, Post, Relay, RelayPost, Worker
from kappa.runtime.live.pulse import Note, Pulse
from kappa.runtime.processes import Child, Ended
from kappa.runtime.relay.sending import Relayed
from kappa.runtime.relay.standby import Relaying, relay
from kappa.runtime.worker.job import Report, Rhythm

SILENT_S = 60.0
"""A process that says nothing for so long hangs. Each says something every second or two."""
GRACE_S = 8.0
"""For a process to finish its batch, commit it and leave its group."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 20.0
_END_S = 1.0


class Place(ABC):
    """A place: empty, or with a process at it.

    Attributes:
        settled: whether the process there does what it is for.
        error: what it met last and has not got over; None where all is well.
    """

    def __init__(self) -> None:
        self.child: Child | None = None
        self.settled = False
        self.error: KappaError | None = None
        self._failures = 0
        self._heard_at = 0.0
        self._due_at = 0.0
        self._leaves_at: float | None = None

    @abstractmethod
    def __str__(self) -> str:
        """Whose place it is, for people."""

    @property
    def is_leaving(self) -> bool:
        return self._leaves_at is not None

    @property
    def is_hopeless(self) -> bool:
        """Whether it is empty for a reason that does not pass by waiting."""
        passing = (*PASSING, Fenced, Stalled, WorkerDied)
        return self.child is None and self.error is not None and not isinstance(self.error, passing)

    @property
    def is_due(self) -> bool:
        """Whether a process is to be started here."""
        return self.child is None and time.monotonic() >= self._due_at

    def fill(self) -> None:
        """Starts a process here, whatever was asked of the one before."""
        self._heard_at = time.monotonic()
        self._leaves_at = None
        self.child = self._started()

    def hear(self) -> None:
        """Takes one message of the process; waits for it where there is none."""
        assert self.child is not None
        self._heard_at = time.monotonic()
        message = self.child.receive()
        if isinstance(message, Ended):
            self._left(message.error)
        else:
            self._told(message)

    def dismiss(self) -> None:
        """Asks the process to leave; it has GRACE_S to."""
        if self.child is not None and self._leaves_at is None:
            self._leaves_at = time.monotonic() + GRACE_S
            self.child.stop()

    def look_after(self) -> None:
        """Ends by force a process that was asked to leave and does not, or that hangs."""
        if self.child is None:
            return
        now = time.monotonic()
        if self._leaves_at is not None and now > self._leaves_at:
            self.child.end()  # it had its time
            self._left(None)
        elif now - self._heard_at > SILENT_S:
            self._left(
                Stalled(
                    f"the process of {self} has said nothing for long",
                    pid=self.child.pid,
                    seconds=round(now - self._heard_at),
                    hint="it hangs, or is paused: it was ended, and another is started",
                )
            )

    def abandon(self) -> None:
        """Ends the process at once, as safely as a crash."""
        if self.child is not None:
            self.child.end()
            self.child = None

    def _left(self, error: KappaError | None) -> None:
        if self.child is not None:
            self.child.end(_END_S)
        self.child, self.settled = None, False
        if error is None or self.is_leaving:
            self._due_at = time.monotonic() + _FIRST_PAUSE_S
            self._ended()
            return
        pause = min(_FIRST_PAUSE_S * 2**self._failures, _LONGEST_PAUSE_S)
        self._failures += 1
        self.error = error
        self._due_at = time.monotonic() + pause
        self._failed(error, pause)

    def _well(self) -> None:
        """The process does what it is for."""
        self.settled, self.error = True, None

    def _progressed(self) -> None:
        """It has got something done: the next failure is a first one again."""
        self._failures, self.error = 0, None

    @abstractmethod
    def _started(self) -> Child:
        """Starts a process and tells of it."""

    @abstractmethod
    def _told(self, message: object) -> None:
        """Takes what the process says."""

    @abstractmethod
    def _failed(self, error: KappaError, again_in_s: float) -> None:
        """Tells that the process failed."""

    @abstractmethod
    def _ended(self) -> None:
        """Tells that the process has ended in good order."""


class WorkerPlace(Place):
    """The place of a worker that follows a version."""

    def __init__(self, settings: Settings, post: Post, rhythm: Rhythm, observer: Observer) -> None:
        super().__init__()
        self._task = Following(settings, post.processor, post.version, rhythm)
        self._post = post
        self._observer = observer
        self._worker = Worker.at(post, 0)

    def __str__(self) -> str:
        return str(self._post)

    def _started(self) -> Child:
        child = Child(follow, self._task)
        self._worker = Worker.at(self._post, child.pid)
        self._observer.started(self._worker)
        return child

    def _told(self, message: object) -> None:
        if isinstance(message, Report):
            self._failures = 0  # what a pulse said last still holds: one partition may wait
            self._observer.report(self._worker, message)
        elif isinstance(message, Pulse):
            if message.state in ("following", "idle"):
                self._well()
            elif message.error is not None:
                self.error = message.error
            self._observer.pulse(self._worker, message)
        elif isinstance(message, Note):
            self._observer.note(self._worker, message)

    def _failed(self, error: KappaError, again_in_s: float) -> None:
        self._observer.failed(self._worker, error, again_in_s)

    def _ended(self) -> None:
        self._observer.ended(self._worker)


class RelayPlace(Place):
    """The place of a relay, which sends an output or stands by."""

    def __init__(self, settings: Settings, post: RelayPost, observer: Observer) -> None:
        super().__init__()
        self._task = Relaying(settings, post.processor, post.output)
        self._post = post
        self._observer = observer
        self._relay = Relay(post, 0)

    def __str__(self) -> str:
        return str(self._post)

    def _started(self) -> Child:
        child = Child(relay, self._task)
        self._relay = Relay(self._post, child.pid)
        self._observer.relay_started(self._relay)
        self._well()
        return child

    def _told(self, message: object) -> None:
        if isinstance(message, Relayed):
            if message.failure is None:
                self._progressed()
            else:
                self.error = message.failure
            self._observer.relayed(self._relay, message)

    def _failed(self, error: KappaError, again_in_s: float) -> None:
        self._observer.relay_failed(self._relay, error, again_in_s)

    def _ended(self) -> None:
        self._observer.relay_ended(self._relay)
