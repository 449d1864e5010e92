"""What a windowed aggregate should hold: one record after the other, plain dicts and loops.

It is written from docs/event-time.md alone and shares nothing with what it checks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Place = tuple[int, int]
"""Partition and offset."""

Key = tuple[Any, ...]
"""What rows are grouped by."""

Window = tuple[int, int]
"""Start and exclusive end, ms."""

WindowsOf = Callable[[int], Sequence[Window]]
"""All windows that contain an event time, by their start."""


@dataclass(frozen=True)
class Record:
    """One record; ``row`` are its columns by name, ``key`` those it is grouped by."""

    partition: int
    offset: int
    timestamp: int
    event_time: int | None
    key: Key
    row: Mapping[str, Any]

    @property
    def place(self) -> Place:
        return self.partition, self.offset

    @property
    def rank(self) -> tuple[int, int, int]:
        """Its place in time: what "first" and "last" mean."""
        assert self.event_time is not None
        return self.event_time, self.partition, self.offset


@dataclass
class Expected:
    """What becomes of all records.

    Attributes:
        groups: the records of every row, by key and window; the window is None without one.
        late: verdict and ms too late of every record that its windows no longer took, or
            not all of them.
        dead: the records that are dead letters.
        outside: the records that lie in no window.
    """

    groups: dict[tuple[Key, Window | None], list[Record]] = field(default_factory=dict)
    late: dict[Place, tuple[str, int]] = field(default_factory=dict)
    dead: set[Place] = field(default_factory=set)
    outside: set[Place] = field(default_factory=set)


@dataclass(frozen=True)
class Times:
    """What the declaration says about time, ms."""

    out_of_orderness: int
    allowed_lateness: int
    max_ahead: int


def in_order(
    records: Collection[Record], times: Times, refused: Collection[Place], dead: set[Place]
) -> list[tuple[Record, int]]:
    """Every record that counts, in the order of its partition, with the watermark right after it.

    The others are added to ``dead``.
    """
    greatest: dict[int, int] = {}
    counted = []
    for record in sorted(records, key=lambda r: r.place):
        time = record.event_time
        if time is None or time > record.timestamp + times.max_ahead or record.place in refused:
            dead.add(record.place)
            continue
        greatest[record.partition] = max(greatest.get(record.partition, time), time)
        counted.append((record, greatest[record.partition] - times.out_of_orderness))
    return counted


def without_window(
    records: Collection[Record], times: Times, refused: Collection[Place]
) -> Expected:
    """One row per key, whatever the time."""
    expected = Expected()
    for record, _ in in_order(records, times, refused, expected.dead):
        expected.groups.setdefault((record.key, None), []).append(record)
    return expected


def aligned(
    records: Collection[Record], times: Times, refused: Collection[Place], windows_of: WindowsOf
) -> Expected:
    """Windows that lie where the calendar puts them, whatever the records."""
    expected = Expected()
    for record, watermark in in_order(records, times, refused, expected.dead):
        assert record.event_time is not None
        windows = windows_of(record.event_time)
        if not windows:
            expected.outside.add(record.place)
            continue
        closes = [end + times.allowed_lateness for _, end in windows]
        for window, closing in zip(windows, closes, strict=True):
            if watermark < closing:
                expected.groups.setdefault((record.key, window), []).append(record)
        if watermark >= max(closes):
            expected.late[record.place] = ("window_closed", watermark - max(closes))
    return expected


@dataclass(eq=False)
class Session:
    """Records of one key, each less than the gap from another."""

    first: int
    last: int
    records: list[Record]


def sessions(
    records: Collection[Record],
    times: Times,
    refused: Collection[Place],
    gap: int,
    max_length: int | None,
) -> Expected:
    """Windows that lie where the records of each key put them."""
    expected = Expected()
    known: dict[Key, list[Session]] = {}
    for record, watermark in in_order(records, times, refused, expected.dead):
        time = record.event_time
        assert time is not None
        mine = known.setdefault(record.key, [])
        is_open = [s for s in mine if watermark < s.last + gap + times.allowed_lateness]
        reached = [s for s in is_open if s.first - gap < time < s.last + gap]
        joined = Session(time, time, [record])
        gone = []
        for session in sorted(reached, key=lambda s: s.first):
            first, last = min(joined.first, session.first), max(joined.last, session.last)
            if max_length is None or last - first <= max_length:
                joined = Session(first, last, session.records + joined.records)
                gone.append(session)
        if not gone and time + gap + times.allowed_lateness <= watermark:
            expected.late[record.place] = (
                "session_closed",
                watermark - (time + gap + times.allowed_lateness),
            )
            continue
        known[record.key] = [s for s in mine if s not in gone] + [joined]
    for key, found in known.items():
        for session in found:
            window = (session.first, session.last + gap)
            assert (key, window) not in expected.groups
            expected.groups[key, window] = session.records
    return expected
