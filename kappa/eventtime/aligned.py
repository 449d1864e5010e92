"""Windows that lie on a grid, and the panes they are put together from.

    size 10, hop 4        0   2   4   6   8   10  12  14  16
    windows               [-------------------)
                                  [-------------------)
                                          [-------------------)
    panes                 [---)   [---)   [---)   [---)
                              [---)   [---)   [---)   [---)

A pane ends where any window begins or ends, so that a window is a whole number of panes and an
event counts in one pane however many windows overlap. There are one or two panes a hop.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from kappa.eventtime.zones import DAY_MS, ZoneDays, zone_days

Positions = npt.NDArray[np.int64]
"""Places on the line the grid is drawn on: milliseconds, or in a zone its days."""


class Aligned:
    """The windows ``[offset + n * hop, offset + n * hop + size)`` for every whole number n.

    Instants are Int64 milliseconds since the epoch, without nulls unless it is said. Of windows
    that begin at the same instant, which they do at a date their zone leaves out, only the last
    exists: a window is known by its start.

    Attributes:
        size_ms, hop_ms: length of a window and distance of their starts, ms; of 24-hour days
            where there is a zone.
        offset_ms: where one of the windows begins, ms after 1970-01-01.
        zone: IANA name of the zone whose days windows consist of; None for plain time.
    """

    size_ms: int
    hop_ms: int
    offset_ms: int
    zone: str | None

    @property
    def fixed_size_ms(self) -> int | None:
        """The length of every window, ms; None where a zone makes it vary."""
        return None if self.zone else self.size_ms

    @property
    def panes_per_window(self) -> int:
        """How many panes a window consists of."""
        whole, rest = divmod(self.size_ms, self.hop_ms)
        return whole if rest == 0 else 2 * whole + 1

    def pane(self, event_time: pl.Series) -> pl.Series:
        """The start of the pane each event lies in; a pane may lie in a gap between windows."""
        return self._instants(self._pane(self._positions(event_time)))

    def last_end(self, event_time: pl.Series) -> pl.Series:
        """The end of the latest window that contains each event; null if none does."""
        at = self._positions(event_time)
        end = self._latest(at) + self._size
        return _null_where(self._instants(end), end <= at)

    def first_open(self, horizon: pl.Series) -> pl.Series:
        """The start of the earliest window that ends after each ``horizon``."""
        return self._instants(self._earliest(self._positions(horizon)))

    def starts(self, pane: pl.Series) -> pl.Series:
        """The starts of all windows that contain each pane, ascending: List(Int64)."""
        at = self._positions(pane)
        ends = pl.DataFrame({"first": self._earliest(at), "last": self._latest(at)})
        starts = ends.select(pl.int_ranges("first", pl.col("last") + 1, self._hop)).to_series()
        days = self._days
        return (starts if days is None else _begun(starts, days)).alias("")

    def first_start(self, pane: pl.Series) -> pl.Series:
        """The start of the earliest window that contains each pane; null if none does."""
        at = self._positions(pane)
        first = self._earliest(at)
        return _null_where(self._instants(first), first > at)

    def end(self, start: pl.Series) -> pl.Series:
        """The end (exclusive) of the window that begins at each ``start``."""
        return self._instants(self._latest(self._positions(start)) + self._size)

    @property
    def _days(self) -> ZoneDays | None:
        return zone_days(self.zone) if self.zone else None

    @property
    def _unit(self) -> int:
        return DAY_MS if self.zone else 1

    @property
    def _size(self) -> int:
        return self.size_ms // self._unit

    @property
    def _hop(self) -> int:
        return self.hop_ms // self._unit

    @property
    def _offset(self) -> int:
        return self.offset_ms // self._unit % self._hop

    def _positions(self, instant: pl.Series) -> Positions:
        at = instant.to_numpy()
        return at if self._days is None else self._days.day(at)

    def _instants(self, position: Positions) -> pl.Series:
        days = self._days
        return pl.Series(position if days is None else days.begin(position), dtype=pl.Int64)

    def _latest(self, at: Positions) -> Positions:
        """Where the latest window begins that begins at or before each position."""
        if self._offset == 0:
            return at // self._hop * self._hop
        return (at - self._offset) // self._hop * self._hop + self._offset

    def _earliest(self, at: Positions) -> Positions:
        """Where the earliest window begins that ends after each position."""
        return self._latest(at - self._size) + self._hop

    def _pane(self, at: Positions) -> Positions:
        latest = self._latest(at)
        cut = self._size % self._hop
        return latest if cut == 0 else latest + np.where(at - latest >= cut, cut, 0)


def _begun(starts: pl.Series, days: ZoneDays) -> pl.Series:
    """The lists of days as lists of instants, each instant once."""
    day = starts.explode(empty_as_null=False).unique()
    begin = pl.Series(days.begin(day.to_numpy()), dtype=pl.Int64)
    instants = starts.list.eval(pl.element().replace_strict(day, begin, return_dtype=pl.Int64))
    return instants.list.unique().list.sort()


def _null_where(instants: pl.Series, absent: npt.NDArray[np.bool_]) -> pl.Series:
    return instants.set(pl.Series(absent), None) if absent.any() else instants
