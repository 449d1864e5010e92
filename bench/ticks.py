"""Ticks of sensors, each with the moment it was sent, and a processor that shows the latest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
import polars as pl
from confluent_kafka import Producer
from numpy.typing import NDArray

from bench.servers import REGISTRY_TOPIC
from bench.stream import PARTITIONS, Stream
from kappa import Count, Max, Source, WindowedAggregate
from kappa.config import KafkaSettings
from kappa.log.client import confluent_config
from kappa.registry.topic import TopicRegistry, value_subject

SENSORS = 100
_STEP_S = 0.001
_FLUSH_S = 60
_SCHEMA: dict[str, object] = {
    "type": "record",
    "name": "Tick",
    "fields": [
        {"name": "lane", "type": "int"},
        {"name": "sensor", "type": "string"},
        {"name": "sent", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    ],
}


def _none(count: int) -> Iterator[pl.DataFrame]:
    """A tick is sent while it is measured, never before."""
    return iter(())


TICKS = Stream("bench_ticks", _SCHEMA, key="sensor", count=0, chunks=_none)

latest = WindowedAggregate(
    name="bench_latency",
    version=1,
    source=Source(TICKS.name, event_time="sent", out_of_orderness="1s"),
    key=["lane", "sensor"],
    window=None,
    aggregates={"ticks": Count(), "sent": Max("sent")},
)

Sent = list[NDArray[np.int64]]
"""Per lane when each tick was sent, in order, µs since 1970."""


def send(kafka: KafkaSettings, topic: str, rate: int, count: int) -> Sent:
    """Sends so many ticks, ``rate`` per second in steps of a millisecond; a lane is a partition.

    A step that comes late sends what is due by then, so the rate is kept on average.
    """
    schema_id = TopicRegistry(kafka, REGISTRY_TOPIC).latest(value_subject(topic)).schema_id
    header = b"\0" + schema_id.to_bytes(4, "big")
    # The bytes of a timestamp are those of a plain long.
    plain: Any = {**_SCHEMA, "fields": [*_fields()[:-1], {"name": "sent", "type": "long"}]}
    schema, write = fastavro.parse_schema(plain), fastavro.schemaless_writer
    sensors = [f"sensor-{number:03d}" for number in range(SENSORS)]
    sent: list[list[int]] = [[] for _ in range(PARTITIONS)]
    producer = Producer({**confluent_config(kafka), "enable.idempotence": True, "linger.ms": 0})
    began = time.perf_counter()
    done = 0
    while done < count:
        due = min(int((time.perf_counter() - began) * rate) + 1, count)
        for number in range(done, due):
            sensor, lane = sensors[number % SENSORS], number % PARTITIONS
            buffer = BytesIO()
            now = time.time_ns() // 1000
            write(buffer, schema, {"lane": lane, "sensor": sensor, "sent": now})
            producer.produce(topic, header + buffer.getvalue(), sensor.encode(), partition=lane)
            sent[lane].append(now)
        done = due
        producer.poll(0)
        time.sleep(_STEP_S)
    if producer.flush(_FLUSH_S):
        raise TimeoutError(f"{len(producer):,} ticks were not acknowledged")
    return [np.array(times, dtype=np.int64) for times in sent]


def _fields() -> list[object]:
    fields = _SCHEMA["fields"]
    assert isinstance(fields, list)
    return fields
