"""Both versions of the example against an independent computation over a year of flights.

DuckDB works the whole result out from the file alone: the partition of each record from its
key's hash, its offset from the order of publishing, and from those its lateness.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import psycopg
import pytest
from confluent_kafka.admin import AdminClient

from example_processors.flights import departures
from tests.conftest import Finished, Stack

ROOT = Path(__file__).parents[2]
HOUR_MS = 3_600_000
PARTITIONS = 4


def murmur2(key: bytes) -> int:
    """Kafka's hash of a record key (org.apache.kafka.common.utils.Utils.murmur2), positive."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(key)) & mask
    whole = len(key) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if rest := key[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return (h ^ h >> 15) & 0x7FFFFFFF


@pytest.fixture
def flights() -> pl.DataFrame:
    return departures()


EXPECTED = """
CREATE TABLE placed AS
SELECT f.*, p.partition,
       row_number() OVER (PARTITION BY p.partition ORDER BY f.line) - 1 AS "offset"
  FROM flights f JOIN partitions p USING (fleet);
CREATE TABLE judged AS
SELECT *, ms - ms % {hour} AS start,
       max(ms) OVER (PARTITION BY partition ORDER BY "offset") - {hour} AS watermark
  FROM placed;
CREATE TABLE late AS
SELECT partition, "offset", ms, watermark, watermark - (start + {hour}) AS late_by, origin
  FROM judged WHERE watermark >= start + {hour};
CREATE TABLE rows AS
SELECT origin, start, count(*) AS flights,
       sum(coalesce(departure_delay, 0))::DOUBLE / count(*) AS mean_v1,
       sum(departure_delay)::DOUBLE / count(departure_delay) AS mean_v2,
       max(departure_delay) AS worst,
       count(*) - count(departure_delay) AS cancelled
  FROM judged WHERE watermark < start + {hour} GROUP BY origin, start;
"""


def expected(flights: pl.DataFrame) -> duckdb.DuckDBPyConnection:
    db = duckdb.connect()
    lines = flights.with_row_index("line").with_columns(
        pl.col("scheduled_at").dt.epoch("ms").alias("ms")
    )
    partitions = pl.DataFrame({"fleet": flights["fleet"].unique()}).with_columns(
        pl.col("fleet")
        .map_elements(lambda key: murmur2(key.encode()) % PARTITIONS, return_dtype=pl.Int64)
        .alias("partition")
    )
    db.register("flights", lines.to_arrow())
    db.register("partitions", partitions.to_arrow())
    db.execute(EXPECTED.format(hour=HOUR_MS))
    return db


def test_every_row_and_every_late_flight(
    kappa: Callable[..., Finished],
    flights: pl.DataFrame,
    tmp_path: Path,
    database: str,
    stack: Stack,
) -> None:
    flights.write_parquet(tmp_path / "flights.parquet")
    shutil.copy(ROOT / "schemas" / "flight.avsc", tmp_path)
    delete_topic(stack, "flights")
    for command in (
        "db upgrade",
        f"topics create flights --partitions {PARTITIONS} --schema flight.avsc --key fleet",
        "produce flights flights.parquet",
        "replay hourly_delays --version 1",
        "promote hourly_delays --version 1",
        "replay hourly_delays --version 2 --workers 2",
    ):
        done = kappa(*command.split())
        assert done.code == 0, f"{command}: {done.err}"
    db = expected(flights)
    first = "SELECT origin, start, flights, mean_v1, worst FROM rows ORDER BY ALL"
    second = "SELECT origin, start, flights, mean_v2, worst, cancelled FROM rows ORDER BY ALL"
    late = "SELECT * FROM late ORDER BY ALL"
    with psycopg.connect(database) as connection:
        assert view(connection, "") == db.execute(first).fetchall()
        for version in (1, 2):
            assert late_table(connection, version) == db.execute(late).fetchall()
        done = kappa("promote", "hourly_delays")
        assert done.code == 0, done.err
        assert view(connection, ", cancelled") == db.execute(second).fetchall()


def view(connection: psycopg.Connection, more: str) -> list[tuple[object, ...]]:
    with connection.transaction():
        return connection.execute(
            "SELECT origin, (extract(epoch FROM window_start) * 1000)::bigint, flights,"
            f" mean_delay, worst_delay{more} FROM hourly_delays"
            ' ORDER BY origin COLLATE "C", window_start'
        ).fetchall()


def late_table(connection: psycopg.Connection, version: int) -> list[tuple[object, ...]]:
    with connection.transaction():
        return connection.execute(
            "SELECT _partition, _offset, (extract(epoch FROM _event_time) * 1000)::bigint,"
            " (extract(epoch FROM _watermark) * 1000)::bigint, _late_by_ms, origin"
            f" FROM hourly_delays__v{version}__late ORDER BY 1, 2"
        ).fetchall()


def delete_topic(stack: Stack, topic: str) -> None:
    """Removes what an earlier run on the same servers left, and waits until it is gone."""
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    if topic not in admin.list_topics(timeout=10).topics:
        return
    admin.delete_topics([topic])[topic].result()
    while topic in admin.list_topics(timeout=10).topics:
        pass
