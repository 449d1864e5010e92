"""The slow, obvious way to compute what the folds compute, one record after the other."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(frozen=True)
class Record:
    """One record of a windowed source; times in ms, offset within the partition."""

    partition: int
    offset: int
    timestamp: int
    event_time: int | None
    key: str
    value: float | None


@dataclass
class Cell:
    """One key and window."""

    count: int = 0
    values: list[float] = field(default_factory=list)


@dataclass
class Expected:
    """What a windowed aggregate should hold after the records."""

    cells: dict[tuple[str, int], Cell]
    late: dict[tuple[int, int], int]
    """By (partition, offset): how many ms too late."""
    dead: set[tuple[int, int]]


def windowed(
    records: Sequence[Record], *, size: int, disorder: int, lateness: int, ahead: int
) -> Expected:
    """Tumbling windows of ``size``, partition by partition in offset order."""
    expected = Expected(defaultdict(Cell), {}, set())
    newest: dict[int, int] = {}
    for record in sorted(records, key=lambda r: (r.partition, r.offset)):
        place = (record.partition, record.offset)
        if record.event_time is None or record.event_time > record.timestamp + ahead:
            expected.dead.add(place)
            continue
        newest[record.partition] = max(
            newest.get(record.partition, record.event_time), record.event_time
        )
        watermark = newest[record.partition] - disorder
        start = math.floor(record.event_time / size) * size
        closes = start + size + lateness
        if closes <= watermark:
            expected.late[place] = watermark - closes
            continue
        cell = expected.cells[record.key, start]
        cell.count += 1
        if record.value is not None:
            cell.values.append(record.value)
    return expected


def exact_units(values: Sequence[float]) -> int:
    """The sum of the values, each rounded to a multiple of 2**-32, in those multiples."""
    return sum(round(Fraction(value) * 2**32) for value in values)
