"""The yardstick: the same jobs as one would write them without kappa.

confluent-kafka in batches of ten thousand, fastavro with its schema parsed once, a dict, one
COPY into a table. No checkpoint, no lateness, no dead letters, no restart: what it leaves out is
in its favour. So is its schema, where a timestamp is a plain long: the bytes are the same, and
fastavro makes no datetime of it, which costs as much as the rest.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import fastavro
import psycopg
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from psycopg import sql

from bench.jobs.job import Job

_BATCH = 10_000
_HEADER_BYTES = 5
_TIMEOUT_S = 30
_COPY_LINES = 100_000


@dataclass(frozen=True)
class Done:
    """One run; seconds from the first fetch to the commit."""

    records: int
    rows: int
    seconds: float


def run(job: Job, bootstrap_servers: str, postgres_url: str, topic: str, table: str) -> Done:
    """Reads the topic from its beginning to its present end and fills a new table."""
    began = time.perf_counter()
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "by-hand",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    try:
        records = _assign(consumer, topic)
        lines = job.by_hand(_arrived(consumer, records, job.stream.schema))
        rows = _store(postgres_url, table, job.table, lines)
    finally:
        consumer.close()
    return Done(records, rows, time.perf_counter() - began)


def plain(schema: Mapping[str, object]) -> Any:
    """fastavro's form of a schema, with its timestamps as plain longs."""
    return fastavro.parse_schema(
        json.loads(json.dumps(schema).replace('"logicalType"', '"formerLogicalType"'))
    )


def _arrived(
    consumer: Consumer, expected: int, schema: Mapping[str, object]
) -> Iterator[tuple[Message, dict[str, Any]]]:
    parsed = plain(schema)
    read, wrap = fastavro.schemaless_reader, io.BytesIO
    records = 0
    while records < expected:
        messages = consumer.consume(_BATCH, timeout=_TIMEOUT_S)
        if not messages:
            raise TimeoutError(f"{records} of {expected} records came")
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            value: Any = message.value()
            record: Any = read(wrap(value[_HEADER_BYTES:]), parsed, None)
            yield message, record
        records += len(messages)


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


def _store(postgres_url: str, table: str, columns: str, lines: Iterable[str]) -> int:
    """Writes the lines as rows of a new table; how many they are.

    All lines are made before the first is written, so that no transaction waits for Kafka.
    """
    held = list(lines)
    name = sql.Identifier(table)
    with psycopg.connect(postgres_url) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(name))
        cursor.execute(f"CREATE TABLE {name.as_string()} ({columns})".encode())
        with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(name)) as copy:
            for low in range(0, len(held), _COPY_LINES):
                copy.write("".join(held[low : low + _COPY_LINES]))
    return len(held)
