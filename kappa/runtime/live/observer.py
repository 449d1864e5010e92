"""Who hears what happens to the workers of a supervisor."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID, uuid4

from kappa.errors import KappaError
from kappa.runtime.live.pulse import Note, Pulse
from kappa.runtime.processes import signature
from kappa.runtime.relay.sending import Relayed
from kappa.runtime.worker.job import Report


@dataclass(frozen=True, order=True)
class Post:
    """A place to be filled by a worker process, again and again if need be.

    Attributes:
        number: among the posts of one version on this host, from zero.
    """

    processor: str
    version: int
    number: int

    def __str__(self) -> str:
        return f"{self.processor} version {self.version}"


@dataclass(frozen=True, order=True)
class RelayPost:
    """A place for a relay, which sends an output for whichever version serves."""

    processor: str
    output: str

    def __str__(self) -> str:
        return f"{self.processor} output {self.output}"


@dataclass(frozen=True)
class Relay:
    """One process at the post of a relay."""

    post: RelayPost
    pid: int

    @property
    def owner(self) -> str:
        """As it signs its claims."""
        return signature(self.pid)


@dataclass(frozen=True)
class Worker:
    """One process at a post."""

    post: Post
    pid: int
    id: UUID
    started_at: datetime

    @property
    def owner(self) -> str:
        """As it signs its claims."""
        return signature(self.pid)

    @classmethod
    def at(cls, post: Post, pid: int) -> Worker:
        """A process that has just been started."""
        return cls(post, pid, uuid4(), datetime.now(UTC))


class Observer(Protocol):
    """Told in the supervisor's thread; what it does must not take long, and must not raise."""

    def started(self, worker: Worker) -> None:
        """A process has been started."""

    def report(self, worker: Worker, report: Report) -> None:
        """It has committed a checkpoint."""

    def pulse(self, worker: Worker, pulse: Pulse) -> None:
        """How it is, about once a second."""

    def note(self, worker: Worker, note: Note) -> None:
        """It has noticed something."""

    def failed(self, worker: Worker, error: KappaError, again_in_s: float) -> None:
        """It has ended with an error; another takes its place in so many seconds."""

    def ended(self, worker: Worker) -> None:
        """It has done what it was asked to, and is gone."""

    def relay_started(self, relay: Relay) -> None:
        """A relay process has been started; it sends, or stands by."""

    def relayed(self, relay: Relay, relayed: Relayed) -> None:
        """It has sent something, or failed and tries again."""

    def relay_failed(self, relay: Relay, error: KappaError, again_in_s: float) -> None:
        """It has ended with an error; another takes its place in so many seconds."""

    def relay_ended(self, relay: Relay) -> None:
        """It has done what it was asked to, and is gone."""

    def trouble(self, error: KappaError) -> None:
        """Which versions there are cannot be looked up at the moment."""
