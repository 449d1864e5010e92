"""Sensors' readings, three processors over them, and what their tables should hold.

Readings are encoded by fastavro, and what follows from them is worked out by tests.reference.
"""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import fastavro

from kappa.avro.wire import header
from tests.reference import Expected, Record, exact_units, windowed

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "sensor", "type": "string"},
        {"name": "code", "type": "long"},
        {"name": "value", "type": "double"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}

TOTALS = """
import polars as pl
from kappa import Count, Max, Source, Sum, Tumbling, WindowedAggregate

processor = WindowedAggregate(
    name="{name}",
    version=1,
    source=Source("{topic}", event_time="at", out_of_orderness="20s"),
    key=["sensor"],
    window=Tumbling("1m"),
    allowed_lateness="10s",
    aggregates={{
        "readings": Count(),
        "total": Sum("value"),
        "most": Max(pl.col("code").cast(pl.Int8)),
    }},
)
"""

LINES = """
import polars as pl
from kappa import Projection, Source

processor = Projection(
    name="{name}",
    version=1,
    source=Source("{topic}", event_time="at"),
    columns=["sensor", pl.col("code").cast(pl.Int8), "value"],
    where=pl.col("code") != 13,
)
"""

LATEST = """
from kappa import Projection, Source

processor = Projection(
    name="{name}",
    version=1,
    source=Source("{topic}"),
    columns=["sensor", "code", "value"],
    latest_by="sensor",
)
"""

START_MS = 1_700_000_000_000
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Reading:
    sensor: str
    code: int
    value: float
    at: int


@dataclass(frozen=True)
class Sent:
    """A record that lies in the log; ``reading`` is what its value says, if anything."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    reading: Reading | None = None


@dataclass(frozen=True)
class Unsent:
    """A record to publish."""

    partition: int
    key: bytes | None
    value: bytes | None
    reading: Reading | None = None


def encoded(schema_id: int, reading: Reading, schema: dict[str, Any] = SCHEMA) -> bytes:
    """A reading as a value of a topic."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), vars(reading))
    return header(schema_id) + out.getvalue()


def good(schema_id: int, partition: int, reading: Reading) -> Unsent:
    """A record as it should be."""
    return Unsent(partition, reading.sensor.encode(), encoded(schema_id, reading), reading)


def tombstone(partition: int, sensor: str) -> Unsent:
    return Unsent(partition, sensor.encode(), None)


def readings(count: int, *, seed: int, sensors: int = 6) -> list[Reading]:
    """Readings a second apart on average; about one in eight comes late."""
    dice = random.Random(seed)
    return [
        Reading(
            sensor=f"s{dice.randrange(sensors)}",
            code=dice.randrange(-100, 100),
            value=round(dice.uniform(-50, 500), 2),
            at=START_MS + number * 1_000 - dice.choice([0, 0, 0, 5_000, 9_000, 15_000, 300_000]),
        )
        for number in range(count)
    ]


def expected_totals(sent: Sequence[Sent]) -> tuple[dict[Any, Any], Expected]:
    """What a TOTALS table should hold after these readings, and what is late or dead."""
    expected = _windowed(sent, "value")
    codes = _windowed(sent, "code").cells
    rows = {
        at: (cell.count, exact_units(cell.values), max(codes[at].values))
        for at, cell in expected.cells.items()
    }
    return rows, expected


def _windowed(sent: Sequence[Sent], of: str) -> Expected:
    return windowed(
        [
            Record(
                one.partition,
                one.offset,
                one.timestamp,
                one.reading.at,
                one.reading.sensor,
                getattr(one.reading, of),
            )
            for one in sent
            if one.reading is not None
        ],
        size=60_000,
        disorder=20_000,
        lateness=10_000,
        ahead=DAY_MS,
    )
