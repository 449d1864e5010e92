"""The yardstick of latency: fetch, INSERT, COMMIT, and nothing else.

No position is kept with the rows, no key is merged, nothing is checked: what it leaves out is in
its favour. It gathers for as long as ``kappa run`` does and inserts a batch in one statement.
"""

from __future__ import annotations

from io import BytesIO
from multiprocessing.synchronize import Event
from typing import Any

import fastavro
import psycopg
from confluent_kafka import Consumer, TopicPartition

from bench.by_hand import plain
from bench.stream import PARTITIONS
from bench.ticks import TICKS

TABLE = "bare_loop"
_HEADER_BYTES = 5
_MOST = 100_000


def prepare(postgres_url: str) -> None:
    """Makes the table, with the index that whoever looks for the latest tick needs."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute(f"CREATE TABLE {TABLE} (lane int, sensor text, sent timestamptz)")
        connection.execute(f"CREATE INDEX ON {TABLE} (lane, sent)")


def run(
    bootstrap_servers: str, postgres_url: str, ends: list[int], delay_s: float, stopping: Event
) -> None:
    """Follows the ticks from ``ends``, the offset per partition, until told to stop."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": TABLE,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    consumer.assign([TopicPartition(TICKS.name, n, ends[n]) for n in range(PARTITIONS)])
    schema: Any = plain(TICKS.schema)
    read = fastavro.schemaless_reader
    with psycopg.connect(postgres_url) as connection:
        while not stopping.is_set():
            rows: list[dict[str, Any]] = []
            for message in consumer.consume(_MOST, timeout=delay_s):
                value: Any = message.value()
                rows.append(read(BytesIO(value[_HEADER_BYTES:]), schema, None))  # type: ignore[arg-type]
            if rows:
                columns = ([row[name] for row in rows] for name in ("lane", "sensor", "sent"))
                connection.execute(_INSERT, list(columns))
                connection.commit()
    consumer.close()


_INSERT = (
    f"INSERT INTO {TABLE} SELECT lane, sensor, to_timestamp(sent / 1e6)"
    " FROM unnest(%s::int[], %s::text[], %s::bigint[]) AS batch (lane, sensor, sent)"
)
