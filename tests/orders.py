"""A small stream of orders with disorder, late and poisoned records, and what it should give."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kappa.config import Settings
from kappa.operations import db, topics
from kappa.operations.produce import produce
from kappa.operations.replay import DEFAULT_BATCH_SIZE, Replayed, replay

SCHEMA = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "order_id", "type": "long"},
        {"name": "customer", "type": "string"},
        {"name": "product", "type": "string"},
        {"name": "amount", "type": ["null", "double"], "default": None},
        {"name": "placed_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}

PROCESSORS = """
import polars as pl
from kappa import Count, Max, Mean, Min, Projection, Source, Sum, Tumbling, WindowedAggregate

revenue = WindowedAggregate(
    name="{name}",
    version=1,
    source=Source("{topic}", event_time="placed_at", out_of_orderness="20s"),
    key=["product"],
    window=Tumbling("1m"),
    allowed_lateness="10s",
    aggregates={{
        "orders": Count(),
        "revenue": Sum("amount"),
        "mean": Mean("amount"),
        "least": Min("amount"),
        "most": Max("order_id"),
    }},
)
"""

START_MS = 1_700_000_000_000


@dataclass(frozen=True)
class Shop:
    """A topic of orders and a processor over it."""

    topic: str
    processor: str


CORRECTED = (
    PROCESSORS
    + """
corrected = WindowedAggregate(
    name="{name}",
    version=2,
    source=Source("{topic}", event_time="placed_at", out_of_orderness="20s"),
    key=["product"],
    window=Tumbling("1m"),
    allowed_lateness="30s",
    aggregates={{**revenue.aggregates}},
)
"""
)
"""Version 2 waits longer for late records."""

EXTENDED = CORRECTED.replace(
    "**revenue.aggregates", '**revenue.aggregates, "dearest": Max("amount")'
)
"""Version 2 has a column more, too."""


def orders(count: int, *, seed: int) -> list[dict[str, Any]]:
    """Orders a second apart on average; about one in ten comes late."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        disorder = rng.choice([0, 0, 5_000, 15_000]) if rng.random() < 0.9 else 200_000
        made.append(
            {
                "order_id": number,
                "customer": f"c{rng.randrange(40)}",
                "product": f"p{rng.randrange(6)}",
                "amount": None if rng.random() < 0.05 else round(rng.uniform(-50, 500), 2) + 0.1,
                "placed_at": START_MS + number * 1_000 - disorder,
            }
        )
    return made


def json_lines(records: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def publish(settings: Settings, topic: str, directory: Path, records: Sequence[Any]) -> None:
    """Publishes records from a file of JSON lines."""
    file = directory / f"{topic}.jsonl"
    file.write_text(json_lines(records))
    produce(settings, topic, file, given=None, skip_bad=False, on_progress=lambda *_: None)


def open_shop(
    settings: Settings,
    plugin: Callable[[str, str], None],
    unique: Callable[[str], str],
    directory: Path,
    *,
    records: Sequence[dict[str, Any]] = (),
    partitions: int = 3,
    code: str = PROCESSORS,
) -> Shop:
    """Migrates the database, makes the topic, publishes the records, installs the processor."""
    shop = Shop(unique("orders"), unique("revenue"))
    schema = directory / "order.avsc"
    schema.write_text(json.dumps(SCHEMA))
    plugin(f"plugin_{shop.processor}", code.format(name=shop.processor, topic=shop.topic))
    db.upgrade(settings)
    topics.create(settings, shop.topic, partitions=partitions, schema_file=schema, key="customer")
    if records:
        publish(settings, shop.topic, directory, records)
    return shop


def rebuild(
    settings: Settings,
    shop: Shop,
    *,
    version: int | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    workers: int = 1,
) -> Replayed:
    """Replays the shop's processor within this process: its highest version if none is given."""
    return replay(
        settings,
        shop.processor,
        version,
        workers=workers,
        batch_size=batch_size,
        allow_truncated=False,
        on_plan=lambda planned: None,
        on_progress=lambda offsets: None,
    )
