"""Windows the slow way: every candidate is looked at, days are found by asking the clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from tests.properties.reference import Window, WindowsOf

_MINUTE = timedelta(minutes=1)
_EPOCH = date(1970, 1, 1)


def hopping(size: int, hop: int, offset: int = 0) -> WindowsOf:
    """Windows of ``size`` that start every ``hop``, at ``offset`` after the epoch."""

    def windows_of(time: int) -> list[Window]:
        starts = (
            start for start in range(time - size + 1, time + 1) if (start - offset) % hop == 0
        )
        return [(start, start + size) for start in starts]

    return windows_of


def days(zone: str, size: int, hop: int, offset: int = 0) -> WindowsOf:
    """Windows of ``size`` days of a zone, one every ``hop`` days."""

    def windows_of(time: int) -> list[Window]:
        around = datetime.fromtimestamp(time / 1000, UTC).date()
        candidates = [around + timedelta(days=n) for n in range(-size - 3, 3)]
        windows = [
            (start_of_day(zone, day), start_of_day(zone, day + timedelta(days=size)))
            for day in candidates
            if ((day - _EPOCH).days - offset) % hop == 0
        ]
        return [(start, end) for start, end in windows if start <= time < end]

    return windows_of


@cache
def start_of_day(zone: str, day: date) -> int:
    """The first instant, ms, at which the clocks of the zone show this date or a later one."""
    clock = ZoneInfo(zone)
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=16)
    while moment.astimezone(clock).date() < day:
        moment += _MINUTE
    return int(moment.timestamp()) * 1000
