"""A stream whose view shows readers how far it has come, and what must come of it.

Each partition is a lane whose records are numbered as their offsets are. The view shows, by lane,
the greatest number, how many there are and their sum: a reader sees from the data alone whether
time went back, or something is missing.
"""

from __future__ import annotations

from typing import Any

LANES = 4
START_MS = 1_700_000_000_000

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Tick",
    "fields": [
        {"name": "lane", "type": "int"},
        {"name": "number", "type": "long"},
        {"name": "amount", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}

PROCESSOR = """
from kappa import Count, Max, Source, Sum, WindowedAggregate

def lanes(version):
    return WindowedAggregate(
        name="{name}",
        version=version,
        source=Source("{topic}", event_time="at"),
        key=["lane"],
        window=None,
        aggregates={{"latest": Max("number"), "ticks": Count(), "total": Sum("amount")}},
    )

first, second = lanes(1), lanes(2)
"""


def record(lane: int, number: int) -> dict[str, int]:
    """The record of this number."""
    values = {"lane": lane, "number": number, "amount": amount(lane, number)}
    return {**values, "at": START_MS + number}


def amount(lane: int, number: int) -> int:
    """What the record of this number carries."""
    return (number * 7_919 + lane * 104_729) % 1_000 - 300


def expected(ends: dict[int, int]) -> dict[int, tuple[int, int, int]]:
    """By lane: greatest number, count and sum of all records below its end."""
    return {
        lane: (end - 1, end, sum(amount(lane, number) for number in range(end)))
        for lane, end in ends.items()
        if end
    }
