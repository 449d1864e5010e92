"""The days of a time zone as instants.

A day is a number: days from 1970-01-01. It begins at the first instant that carries its date,
wherever the clocks stand then: 01:00 where midnight is skipped, the first of two midnights where
it comes twice. A date that the zone leaves out begins, and is over, where the next one begins.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from kappa.errors import DeclarationError

Instants = npt.NDArray[np.int64]
"""Milliseconds since the epoch."""

Days = npt.NDArray[np.int64]
"""Days since 1970-01-01 in some zone."""

DAY_MS = 86_400_000
_BLOCK = 512
_EPOCH = date(1970, 1, 1).toordinal()
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = date(1, 1, 3).toordinal() - _EPOCH
_LAST = date(9999, 12, 29).toordinal() - _EPOCH


class ZoneDays:
    """Where the days of one zone begin. Equal for everybody who has the same tzdata."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._blocks: dict[int, Instants] = {}

    def begin(self, day: Days) -> Instants:
        """The instant at which each day begins."""
        first, begin = self._table(day)
        return begin[day - first]

    def day(self, instant: Instants) -> Days:
        """The latest day that has begun at each instant."""
        # Offsets are below 24 h, so that it is the day of UTC or a neighbour.
        day = instant // DAY_MS
        first, begin = self._table(day)
        row = day - first
        day += instant >= begin[1:][row]
        day -= instant < begin[row]
        return day

    def _table(self, day: Days) -> tuple[int, Instants]:
        """A day and the beginnings of days from it on, right for each ``day`` and the next."""
        if not len(day):
            return 0, np.empty(0, dtype=np.int64)
        number = day // _BLOCK
        first = int(number.min())
        present = np.convolve(np.bincount(number - first), [1, 1])
        begin = np.empty(len(present) * _BLOCK, dtype=np.int64)
        for found in np.flatnonzero(present).tolist():
            begin[found * _BLOCK : (found + 1) * _BLOCK] = self.block(first + found)
        return first * _BLOCK, begin

    def block(self, number: int) -> Instants:
        """The beginnings of days ``number * 512`` to ``number * 512 + 511``."""
        block = self._blocks.get(number)
        if block is None:
            first = number * _BLOCK
            begins = [_begin(self._zone, day) for day in range(first, first + _BLOCK)]
            block = self._blocks[number] = np.array(begins, dtype=np.int64) * 1_000
        return block


def _begin(zone: tzinfo, day: int) -> int:
    """When ``day`` begins in ``zone``, in seconds since the epoch."""
    known = min(max(day, _FIRST), _LAST)
    midnight = datetime.fromordinal(known + _EPOCH).replace(tzinfo=zone)
    begin = _seconds(midnight)
    if _offset(zone, begin) != midnight.utcoffset():
        begin = _end_of_gap(zone, _seconds(midnight.replace(fold=1)), begin)
    return begin + (day - known) * (DAY_MS // 1_000)


def _end_of_gap(zone: tzinfo, before: int, after: int) -> int:
    """The first second after the clocks went forward, which they did in (before, after]."""
    late = _offset(zone, after)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == late:
            after = middle
        else:
            before = middle
    return after


def _seconds(local: datetime) -> int:
    return (local - _EPOCH_UTC) // timedelta(seconds=1)


def _offset(zone: tzinfo, second: int) -> timedelta | None:
    return (_EPOCH_UTC + timedelta(seconds=second)).astimezone(zone).utcoffset()


@cache
def zone_days(name: str) -> ZoneDays:
    """The days of the zone with this IANA name.

    The rules are those of the installed package ``tzdata``, never the machine's own: two
    machines with the same dependencies cut the same windows.

    Raises:
        DeclarationError: there is no such zone.
    """
    data = files("tzdata")
    if name not in data.joinpath("zones").read_text(encoding="utf-8").splitlines():
        raise DeclarationError(
            f"{name!r} is not the name of a time zone",
            hint='use a name of the IANA database, such as "Europe/Berlin"',
        )
    with data.joinpath("zoneinfo", *name.split("/")).open("rb") as rules:
        return ZoneDays(ZoneInfo.from_file(rules, key=name))
