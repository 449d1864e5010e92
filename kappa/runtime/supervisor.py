"""``kappa run``: for every version that is to be followed, worker processes on this host.

The supervisor looks up again and again which versions there are, starts what is missing, stops
what is no longer wanted, and starts anew, after a pause that grows, what has failed. Several
hosts need nothing but the same Kafka and PostgreSQL.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import wait

from kappa.config import Settings, require_postgres
from kappa.errors import Fenced, KappaError, Stalled, WorkerDied
from kappa.runtime.follow import PASSING, Following, follow
from kappa.runtime.job import Report, Rhythm
from kappa.runtime.lookout import Lookout
from kappa.runtime.observer import Observer, Post, Worker
from kappa.runtime.processes import Child, Ended, shared_threads
from kappa.runtime.pulse import Note, Pulse
from kappa.versions.lifecycle import State

FOLLOWED = frozenset({State.READY, State.SERVING, State.DRAINING, State.STANDBY})
"""A version in another state is still being built, or gone."""

_WAIT_S = 0.2
_GRACE_S = 9.0
"""For a worker to finish its batch, commit it and leave its group."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 20.0


@dataclass(frozen=True)
class Running:
    """What to keep up to date.

    Attributes:
        names: the processors; none means all.
        workers: processes for each version on this host.
    """

    settings: Settings
    names: frozenset[str]
    workers: int
    rhythm: Rhythm


@dataclass
class _Place:
    """A post, who is at it now, and how often it had to be filled anew since it last went well."""

    post: Post
    child: Child | None = None
    worker: Worker | None = None
    settled: bool = False
    failures: int = 0
    error: KappaError | None = None
    due_at: float = 0.0
    leaving_until: float | None = None


class Supervisor:
    """Keeps the wanted posts filled until told to stop."""

    def __init__(self, running: Running, observer: Observer) -> None:
        self._running = running
        self._observer = observer
        self._places: dict[Post, _Place] = {}
        self._trouble: KappaError | None = None
        self._has_looked = False
        self.looked_at = time.monotonic()
        """When the loop last came round, for a health check."""

    def run(self, stopping: threading.Event) -> None:
        """Goes on until ``stopping``; then every worker finishes its batch and is waited for.

        Raises:
            KappaError: nothing can be followed, for reasons that do not pass by waiting.
        """
        url = require_postgres(self._running.settings)
        try:
            with Lookout(url) as lookout:
                while not stopping.is_set():
                    self._look(lookout)
                    self._fill()
                    self._hear(_WAIT_S)
                    self._let_go()
                    self._require_hope()
                    self.looked_at = time.monotonic()
                self._finish()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Ends every worker at once, as safely as a crash."""
        for place in list(self._places.values()):
            if place.child is not None:
                place.child.end()
                place.child = None

    @property
    def unready(self) -> tuple[str, ...]:
        """Why not everything is being followed; empty if it is."""
        if not self._has_looked:
            return ("which versions there are is being looked up",)
        return tuple(
            f"{place.post}: " + (str(place.error) if place.error else "is being started")
            for place in list(self._places.values())
            if place.leaving_until is None and not (place.settled and place.error is None)
        )

    def _look(self, lookout: Lookout) -> None:
        """Finds out which posts are wanted."""
        if lookout.error is not self._trouble:
            self._trouble = lookout.error
            if self._trouble is not None:
                self._observer.trouble(self._trouble)
        found = lookout.versions
        if found is None:
            return
        self._has_looked = True
        running = self._running
        wanted = {
            Post(record.processor, record.version, number)
            for record in found
            if record.state in FOLLOWED and (not running.names or record.processor in running.names)
            for number in range(running.workers)
        }
        for post in sorted(wanted - self._places.keys()):
            self._places[post] = _Place(post)
        for post in self._places.keys() - wanted:
            self._dismiss(self._places[post])

    def _dismiss(self, place: _Place) -> None:
        if place.child is None:
            del self._places[place.post]
        elif place.leaving_until is None:
            place.leaving_until = time.monotonic() + _GRACE_S
            place.child.stop()

    def _fill(self) -> None:
        now = time.monotonic()
        empty = [
            place for place in self._places.values() if place.child is None and place.due_at <= now
        ]
        if not empty:
            return
        with shared_threads(len(self._places)):
            for place in empty:
                place.child = self._child(place.post)
                place.worker = Worker.at(place.post, place.child.pid or 0)
                self._observer.started(place.worker)

    def _child(self, post: Post) -> Child:
        running = self._running
        task = Following(running.settings, post.processor, post.version, running.rhythm)
        return Child(follow, task)

    def _hear(self, timeout_s: float) -> None:
        """Takes what workers have to say, as long as they say it at once."""
        at = {place.child.pipe: place for place in self._places.values() if place.child}
        if not at:
            time.sleep(timeout_s)
            return
        for ready in wait(list(at), timeout_s):
            place = at[ready]  # type: ignore[index]
            assert place.child is not None
            assert place.worker is not None
            self._told(place, place.worker, place.child.receive())

    def _told(self, place: _Place, worker: Worker, message: object) -> None:
        if isinstance(message, Report):
            place.failures, place.error = 0, None
            self._observer.report(worker, message)
        elif isinstance(message, Pulse):
            if message.state in ("following", "idle"):
                place.settled, place.error = True, None
            elif message.error is not None:
                place.error = message.error
            self._observer.pulse(worker, message)
        elif isinstance(message, Note):
            self._observer.note(worker, message)
        elif isinstance(message, Ended):
            self._left(place, worker, message.error)

    def _left(self, place: _Place, worker: Worker, error: KappaError | None) -> None:
        if place.child is not None:
            place.child.end(1.0)
        place.child, place.settled = None, False
        if place.leaving_until is not None:
            del self._places[place.post]
        if error is None or place.leaving_until is not None:
            place.due_at = time.monotonic() + _FIRST_PAUSE_S
            self._observer.ended(worker)
            return
        pause = min(_FIRST_PAUSE_S * 2**place.failures, _LONGEST_PAUSE_S)
        place.failures += 1
        place.error = error
        place.due_at = time.monotonic() + pause
        self._observer.failed(worker, error, pause)

    def _let_go(self) -> None:
        """Ends by force who was asked to leave and does not."""
        now = time.monotonic()
        for place in list(self._places.values()):
            if place.leaving_until is not None and now > place.leaving_until and place.worker:
                self._left(place, place.worker, None)

    def _require_hope(self) -> None:
        """Passes unless every post has failed for a reason that stays."""
        errors = [place.error for place in self._places.values() if place.child is None]
        lasting = [error for error in errors if error is not None and not _may_pass(error)]
        if lasting and len(lasting) == len(self._places):
            raise lasting[0]

    def _finish(self) -> None:
        for place in self._places.values():
            if place.child is not None:
                place.leaving_until = time.monotonic() + _GRACE_S
                place.child.stop()
        while any(place.child for place in self._places.values()):
            self._hear(_WAIT_S)
            self._let_go()


def _may_pass(error: KappaError) -> bool:
    return isinstance(error, (*PASSING, Fenced, Stalled, WorkerDied))
