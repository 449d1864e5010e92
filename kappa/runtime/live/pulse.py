"""What a worker that follows a version says of itself, about once a second."""

from __future__ import annotations

from dataclasses import dataclass

from kappa.errors import KappaError


@dataclass(frozen=True)
class Standing:
    """How far one partition has come; ``end`` is the last stable offset, None if not known.

    ``next_offset`` is committed; ``max_event_time`` and ``watermark`` are in milliseconds.
    """

    topic: str
    partition: int
    next_offset: int
    end: int | None
    max_event_time: int | None
    watermark: int | None = None


@dataclass(frozen=True)
class Pulse:
    """A worker as it is now.

    Attributes:
        state: ``joining``, ``idle`` (it holds no partition), ``following``, ``waiting`` (for the
            database or for Kafka, see ``error``).
        standing: one per partition it holds.
        fetch_s, fold_s, commit_s: seconds spent so far in waiting for records, in folding them,
            and in waiting for commits.
        buffered_bytes: fetched and not folded yet.
        resident_bytes: memory of the process.
        error: why it waits, or waited last.
    """

    state: str
    standing: tuple[Standing, ...] = ()
    fetch_s: float = 0.0
    fold_s: float = 0.0
    commit_s: float = 0.0
    buffered_bytes: int = 0
    resident_bytes: int = 0
    error: KappaError | None = None

    def followed_by(self, later: Pulse) -> Pulse:
        """The later one says all there is to say."""
        return later

    @property
    def is_behind(self) -> bool:
        """Whether something it holds is not read to its end, or may not be."""
        return any(part.end is None or part.next_offset < part.end for part in self.standing)


@dataclass(frozen=True)
class Note:
    """Something a person should know that is no error."""

    message: str
    detail: dict[str, object]
