"""The yardstick: the same windows as one would write them without kappa.

confluent-kafka in batches of ten thousand, fastavro with its schema parsed once, a dict of
windows, one COPY into a table with a primary key. No checkpoint, no lateness, no dead letters, no
restart: what it leaves out is in its favour. So is its schema, where the timestamp is a plain long:
the bytes are the same, and fastavro makes no datetime of it, which costs as much as the rest.
"""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import fastavro
import psycopg
from confluent_kafka import Consumer, KafkaException, TopicPartition
from psycopg import sql

from bench.orders import SCHEMA, WINDOW_MS

_PLAIN = json.loads(json.dumps(SCHEMA).replace('"logicalType"', '"formerLogicalType"'))
_BATCH = 10_000
_HEADER_BYTES = 5
_TIMEOUT_S = 30


@dataclass(frozen=True)
class Done:
    """One run; seconds from the first fetch to the commit."""

    records: int
    rows: int
    seconds: float


def run(bootstrap_servers: str, postgres_url: str, topic: str, table: str) -> Done:
    """Reads the topic from its beginning to its present end and fills a new table."""
    began = time.perf_counter()
    records, windows = _fold(bootstrap_servers, topic)
    _store(postgres_url, table, windows)
    return Done(records, len(windows), time.perf_counter() - began)


def _fold(bootstrap_servers: str, topic: str) -> tuple[int, dict[tuple[str, int], list[float]]]:
    schema = fastavro.parse_schema(_PLAIN)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "by-hand",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    try:
        expected = _assign(consumer, topic)
        windows: dict[tuple[str, int], list[float]] = {}
        records = 0
        while records < expected:
            messages = consumer.consume(_BATCH, timeout=_TIMEOUT_S)
            if not messages:
                raise TimeoutError(f"{records} of {expected} records came")
            for message in messages:
                if message.error():
                    raise KafkaException(message.error())
                value = message.value()
                assert value is not None
                order: Any = fastavro.schemaless_reader(
                    io.BytesIO(value[_HEADER_BYTES:]), schema, None
                )
                placed_at = order["placed_at"]
                key = (order["product"], placed_at - placed_at % WINDOW_MS)
                window = windows.get(key)
                if window is None:
                    windows[key] = [1, order["amount"]]
                else:
                    window[0] += 1
                    window[1] += order["amount"]
            records += len(messages)
        return records, windows
    finally:
        consumer.close()


def _assign(consumer: Consumer, topic: str) -> int:
    """Every partition from its beginning; how many records there are to come."""
    partitions = consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].partitions
    starts = []
    expected = 0
    for number in partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, number))
        starts.append(TopicPartition(topic, number, low))
        expected += high - low
    consumer.assign(starts)
    return expected


def _store(postgres_url: str, table: str, windows: dict[tuple[str, int], list[float]]) -> None:
    name = sql.Identifier(table)
    minutes = {start: _timestamp(start) for start in {start for _, start in windows}}
    with psycopg.connect(postgres_url) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(name))
        cursor.execute(
            sql.SQL(
                "CREATE TABLE {} (product text, window_start timestamptz, orders bigint,"
                " revenue double precision, PRIMARY KEY (product, window_start))"
            ).format(name)
        )
        with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(name)) as copy:
            copy.write(
                "".join(
                    f"{product}\t{minutes[start]}\t{orders:.0f}\t{revenue!r}\n"
                    for (product, start), (orders, revenue) in windows.items()
                )
            )


def _timestamp(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()
