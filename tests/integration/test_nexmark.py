"""A million auction events through Kafka into PostgreSQL: each query's view is what DuckDB says.

The events span 28 hours, so that they have every hour of the day and end on another day than
they began; they come up to three seconds out of order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from bench import verify
from bench.nexmark import PLUGINS, expected, publish, topics
from bench.nexmark.config import BASE_TIME_MS, Config
from bench.nexmark.queries import BUILT, Query
from bench.nexmark.schemas import KINDS
from kappa.config import KafkaSettings, PostgresSettings, RegistrySettings, Settings
from kappa.operations import db
from kappa.operations.promote import promote
from kappa.operations.replay import DEFAULT_BATCH_SIZE, Replayed, replay
from tests.conftest import Stack

EVENTS = 1_000_000
CONFIG = Config(seed=7, events_per_s=10, base_time_ms=BASE_TIME_MS, out_of_order_group=30)
DATABASE = "nexmark_test"


TIES = """
import polars as pl
from bench.nexmark.topics import BID_TOPIC
from kappa import ArgMax, Count, Source, Tumbling, WindowedAggregate

ties = WindowedAggregate(
    name="nexmark_ties",
    version=1,
    source=Source(BID_TOPIC, event_time="dateTime", out_of_orderness="4s"),
    key=[],
    window=Tumbling("1m"),
    aggregates={
        "highest": Count(where=pl.col("price") >= 10_000_000),
        "auction": ArgMax("auction", by=pl.col("price") // 10_000_000),
        "price": ArgMax("price", by=pl.col("price") // 10_000_000),
        "extra": ArgMax("extra", by=pl.col("price") // 10_000_000),
    },
)
"""
"""Query 7 over prices so coarse that most windows have several highest bids."""

TIES_QUERY = Query(
    "nexmark_ties",
    "coarse highest bids",
    """
    SELECT time_bucket(INTERVAL 1 MINUTE, date_time) AS window_start,
           count(*) FILTER (price >= 10000000) OVER (PARTITION BY window_start) AS highest,
           auction, price, extra
      FROM bid
   QUALIFY row_number() OVER (PARTITION BY window_start
                              ORDER BY price // 10000000 DESC, date_time DESC,
                                       partition DESC, line DESC) = 1
    """,
)


@dataclass(frozen=True)
class Auction:
    """The published events: where processors find them, and what DuckDB knows of them."""

    settings: Settings
    duck: duckdb.DuckDBPyConnection

    @property
    def postgres_url(self) -> str:
        return self.settings.postgres.url.get_secret_value()

    @property
    def bids(self) -> int:
        ((count,),) = self.duck.execute("SELECT count(*) FROM bid").fetchall()
        return int(count)

    def replay(self, name: str) -> Replayed:
        return replay(
            self.settings,
            name,
            None,
            workers=1,
            batch_size=DEFAULT_BATCH_SIZE,
            allow_truncated=False,
            on_plan=lambda planned: None,
            on_progress=lambda offsets: None,
        )


@pytest.fixture(scope="module")
def auction(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Auction]:
    ties = tmp_path_factory.mktemp("plugins")
    install(ties)
    with (
        fresh_database(stack) as url,
        pytest.MonkeyPatch.context() as patch,
        expected.bids(EVENTS, CONFIG, publish.PARTITIONS) as duck,
    ):
        patch.syspath_prepend(str(PLUGINS))
        patch.syspath_prepend(str(ties))
        settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=stack.bootstrap_servers),
            postgres=PostgresSettings(url=SecretStr(url)),
            registry=RegistrySettings(topic="_schemas_nexmark"),
        )
        delete_topics(stack)
        db.upgrade(settings)
        publish.create(settings, topics.PREFIX)
        publish.publish(settings, topics.PREFIX, EVENTS, CONFIG)
        yield Auction(settings, duck)
        delete_topics(stack)


def install(directory: Path) -> None:
    info = directory / "nexmark_ties-1.0.dist-info"
    info.mkdir()
    (directory / "nexmark_ties.py").write_text(TIES)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nexmark-ties\nVersion: 1.0\n")
    entry = "[kappa.processors]\nnexmark_ties.v1 = nexmark_ties:ties\n"
    (info / "entry_points.txt").write_text(entry)


@contextmanager
def fresh_database(stack: Stack) -> Iterator[str]:
    drop = f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"
    with psycopg.connect(stack.postgres_url, autocommit=True) as connection:
        connection.execute(drop)
        connection.execute(f"CREATE DATABASE {DATABASE}")
    yield make_conninfo(stack.postgres_url, dbname=DATABASE)
    with psycopg.connect(stack.postgres_url, autocommit=True) as connection:
        connection.execute(drop)


def delete_topics(stack: Stack) -> None:
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    ours = {publish.topic_of(topics.PREFIX, kind) for kind in KINDS}
    there = list(ours & set(admin.list_topics(timeout=10).topics))
    for deleted in admin.delete_topics(there).values() if there else ():
        deleted.result()
    while ours & set(admin.list_topics(timeout=10).topics):
        pass


@pytest.mark.parametrize("query", [*BUILT, TIES_QUERY], ids=lambda query: query.name)
def test_the_view_holds_what_duckdb_computes(auction: Auction, query: Query) -> None:
    done = auction.replay(query.name)
    assert (done.records, done.late, done.dead) == (auction.bids, 0, 0)
    promote(auction.settings, {query.name: None})
    assert verify.check(auction.duck, auction.postgres_url, query.name, query.sql) == done.rows


def test_a_view_that_is_not_what_duckdb_computes_is_refused(auction: Auction) -> None:
    name = "nexmark_q2"
    auction.replay(name)
    promote(auction.settings, {name: None})
    other = Query(name, "another 123rd", "SELECT auction, price FROM bid WHERE auction % 123 = 1")
    with pytest.raises(verify.Wrong, match=r"missing .* rows, for example .* too many"):
        verify.check(auction.duck, auction.postgres_url, other.name, other.sql)
