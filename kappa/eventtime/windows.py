"""Windows over event time, as they are declared.

Half-open ``[start, end)``, aligned to 1970-01-01T00:00 UTC unless an ``offset`` moves them. With
a ``zone`` they consist of whole days of that zone, as long or short as its clocks make them, and
are aligned to its 1970-01-01, a Thursday: weeks that begin on Mondays have the offset "4d".
"""

from __future__ import annotations

from dataclasses import dataclass

from kappa.errors import DeclarationError
from kappa.eventtime.aligned import Aligned
from kappa.eventtime.durations import Duration, milliseconds
from kappa.eventtime.zones import DAY_MS, zone_days

__all__ = ["Aligned", "Hopping", "Sliding", "Tumbling"]


MOST_WINDOWS = 10_000
"""How many windows one record may lie in: it changes a row of each."""


@dataclass(frozen=True)
class Tumbling(Aligned):
    """Windows of one size, each beginning where the one before ends."""

    size: Duration
    offset: Duration = "0s"
    zone: str | None = None

    def __post_init__(self) -> None:
        _lay(self, self.offset, size=self.size)


@dataclass(frozen=True)
class Hopping(Aligned):
    """Windows of one size, one beginning at every hop.

    With a hop shorter than the size they overlap; with a longer one there are gaps between them,
    and events in a gap are in no window.
    """

    size: Duration
    hop: Duration
    offset: Duration = "0s"
    zone: str | None = None

    def __post_init__(self) -> None:
        _lay(self, self.offset, size=self.size, hop=self.hop)


@dataclass(frozen=True)
class Sliding(Aligned):
    """What the last ``size`` held, once every ``step``: a moving aggregate.

    The windows are those of ``Hopping(size, step)``; the size is a whole number of steps.
    """

    size: Duration
    step: Duration
    offset: Duration = "0s"
    zone: str | None = None

    def __post_init__(self) -> None:
        _lay(self, self.offset, size=self.size, step=self.step)
        if self.size_ms % self.hop_ms:
            raise DeclarationError(
                f"the step {self.step!r} does not divide the size {self.size!r}",
                hint="choose a step that does, or Hopping, which takes any hop",
            )


def _lay(window: Aligned, offset: Duration, **lengths: Duration) -> None:
    """Sets the grid of a declared window; its lengths are the size and what lies between starts.

    Raises:
        DeclarationError: no duration, a length of zero, an unknown zone, parts of days in a zone.
    """
    each = {name: milliseconds(length, name) for name, length in lengths.items()}
    for name, length in each.items():
        if length == 0:
            kind = type(window).__name__
            raise DeclarationError(
                f"a window needs a {name} above zero", hint=f'such as {kind}({name}="1m")'
            )
    offset_ms = milliseconds(offset, "offset")
    if window.zone is not None:
        zone_days(window.zone)
        _check_days({**each, "offset": offset_ms})
    size, *between = each.values()
    hop = between[0] if between else size
    if size > MOST_WINDOWS * hop:
        raise DeclarationError(
            f"every record would lie in {size // hop:,} windows, more than {MOST_WINDOWS:,}",
            hint="move the windows on by more at a time, or make them shorter",
        )
    grid = {"size_ms": size, "hop_ms": hop, "offset_ms": offset_ms}
    for attribute, value in grid.items():
        object.__setattr__(window, attribute, value)


def _check_days(lengths: dict[str, int]) -> None:
    for name, length in lengths.items():
        if length % DAY_MS:
            raise DeclarationError(
                f"windows in a zone consist of whole days, the {name} does not",
                hint='such as "1d" or "7d"; shorter windows are the same in every zone that is '
                "whole hours from UTC: use an offset for others",
            )
