"""Windows over event time. Half-open ``[start, end)``, integer milliseconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from kappa.errors import DeclarationError
from kappa.eventtime.durations import Duration, milliseconds


@dataclass(frozen=True)
class Tumbling:
    """Windows of one size, each beginning where the one before ends, aligned to the epoch."""

    size: Duration
    size_ms: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_ms", milliseconds(self.size))
        if self.size_ms == 0:
            raise DeclarationError("a window needs a size above zero", hint='try Tumbling("1m")')

    def start(self, event_time: pl.Series) -> pl.Series:
        """The start of the window that each event time (Int64 ms) falls into."""
        return event_time - event_time % self.size_ms

    def end(self, start: pl.Series) -> pl.Series:
        """The end (exclusive) of the window that begins at each ``start``."""
        return start + self.size_ms
