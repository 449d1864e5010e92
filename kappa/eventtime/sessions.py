"""Sessions: records of one key that follow each other closely."""

from __future__ import annotations

from dataclasses import dataclass, field

from kappa.errors import DeclarationError
from kappa.eventtime.assignment import Assignment, OpenSessions, SessionEvents, assign
from kappa.eventtime.durations import Duration, milliseconds

__all__ = ["Assignment", "OpenSessions", "Session", "SessionEvents", "assign"]


@dataclass(frozen=True)
class Session:
    """Windows from a key's first record until none has come for ``gap``.

    Two records belong together when they are less than ``gap`` apart. A session's window is
    ``[first, last + gap)``.

    Attributes:
        gap: the silence that ends a session.
        max_length: a session's first and last record are no further apart than this, however
            many come between; None for no limit.
    """

    gap: Duration
    max_length: Duration | None = None
    gap_ms: int = field(init=False, repr=False)
    max_length_ms: int | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        longest = None if self.max_length is None else milliseconds(self.max_length, "max_length")
        object.__setattr__(self, "gap_ms", milliseconds(self.gap, "gap"))
        object.__setattr__(self, "max_length_ms", longest)
        if self.gap_ms == 0:
            raise DeclarationError("a session needs a gap above zero", hint='try Session("30m")')
        if longest == 0:
            raise DeclarationError(
                "a session needs a max_length above zero",
                hint="leave it out for sessions of any length",
            )
