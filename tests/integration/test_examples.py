"""Every example processor from Kafka to its view, against a reference that goes record by record.

A version is built from the first half of its topic in small checkpoints, promoted, and then
catches up with the second half: rows are first appended and later merged, open sessions and the
state of keys are read back, and the view that readers see moves on.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import psycopg
import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from psycopg.rows import dict_row

from kappa.avro.wire import header
from kappa.config import Settings
from kappa.operations import db, topics
from kappa.operations.promote import promote
from kappa.operations.replay import replay
from tests import examples
from tests.conftest import Stack
from tests.examples import Expected, Placed, Row, comparable, in_topic, keyed
from tests.integration.kafka_scenes import producer
from tests.integration.test_flights import delete_topic, murmur2
from tests.orders import publish

SCHEMAS = Path(__file__).parents[2] / "schemas"
PARTITIONS = 3
BATCH = 300
"""Records between two checkpoints: a stream has several."""


@dataclass(frozen=True)
class Site:
    """A database and a registry of this test's own, and the topic of one example."""

    settings: Settings
    url: str
    stack: Stack
    directory: Path

    def create(self, topic: str, schema: str, key: str, *, compact: bool = False) -> None:
        """Makes the topic anew; an earlier run on the same servers may have left one."""
        db.upgrade(self.settings)
        delete_topic(self.stack, topic)
        topics.create(
            self.settings,
            topic,
            partitions=PARTITIONS,
            compact=compact,
            schema_file=SCHEMAS / schema,
            key=key,
        )

    def rebuild_in_halves(
        self, processor: str, records: Sequence[Any], publish: Callable[[Sequence[Any]], None]
    ) -> None:
        """Publishes and replays a half, promotes, and does the same with the other half."""
        middle = len(records) // 2
        publish(records[:middle])
        self.replay(processor)
        promote(self.settings, {processor: None})
        publish(records[middle:])
        self.replay(processor)

    def publish(self, topic: str) -> Callable[[Sequence[Row]], None]:
        return lambda rows: publish(self.settings, topic, self.directory, rows)

    def replay(self, processor: str) -> None:
        replay(
            self.settings,
            processor,
            None,
            workers=1,
            batch_size=BATCH,
            allow_truncated=False,
            on_plan=lambda planned: None,
            on_progress=lambda offsets: None,
        )

    def read(self, query: str) -> list[Row]:
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            return connection.execute(query).fetchall()

    def view(self, processor: str, *key: str) -> list[Row]:
        return comparable(self.read(f"SELECT * FROM {processor}"), *key)

    def late(self, processor: str) -> dict[tuple[int, int], int]:
        rows = self.read(f"SELECT * FROM {processor}__v1__late")
        return {(row["_partition"], row["_offset"]): row["_late_by_ms"] for row in rows}


@pytest.fixture
def site(settings: Settings, database: str, stack: Stack, tmp_path: Path) -> Site:
    return Site(settings, database, stack, tmp_path)


def partition_of(key: str) -> int:
    return murmur2(key.encode()) % PARTITIONS


def check(site: Site, processor: str, wanted: Expected, *key: str) -> None:
    assert wanted.late, "the stream should have late records"
    assert site.view(processor, *key) == wanted.rows
    assert site.late(processor) == wanted.late


def test_order_totals(site: Site) -> None:
    rows = examples.orders(2_000, seed=11)
    site.create("shop.orders", "order.avsc", "customer")
    site.rebuild_in_halves("order_totals", rows, site.publish("shop.orders"))
    wanted = examples.order_totals(in_topic(keyed(rows, "customer"), partition_of))
    check(site, "order_totals", wanted, "product", "window_start")


def test_session_analytics(site: Site) -> None:
    rows = examples.page_views(2_000, seed=12)
    site.create("web.views", "page_view.avsc", "visitor")
    site.rebuild_in_halves("session_analytics", rows, site.publish("web.views"))
    wanted = examples.session_analytics(in_topic(keyed(rows, "visitor"), partition_of))
    check(site, "session_analytics", wanted, "visitor", "window_start")


def test_moving_average(site: Site) -> None:
    rows = examples.prices(2_000, seed=13)
    site.create("shop.prices", "price.avsc", "product")
    site.rebuild_in_halves("moving_average", rows, site.publish("shop.prices"))
    wanted = examples.moving_average(in_topic(keyed(rows, "product"), partition_of))
    check(site, "moving_average", wanted, "product", "window_start")


def test_customers(site: Site) -> None:
    records = examples.customers(600, seed=14)
    site.create("shop.customers", "customer.avsc", "customer", compact=True)
    lines = [row or {"customer": customer, "@tombstone": True} for customer, row in records]
    site.rebuild_in_halves("customers", lines, site.publish("shop.customers"))
    wanted = examples.latest_customers(in_topic(records, partition_of))
    assert site.view("customers", "customer") == wanted


def test_fraud_alerts(site: Site) -> None:
    rows = examples.transactions(1_500, seed=15)
    stamps = [examples.START + number * 2 * examples.SECOND for number in range(len(rows))]
    topic = in_topic(keyed(rows, "account_id"), partition_of, stamps)
    site.create("transactions", "transaction.avsc", "account_id")
    let_producers_stamp(site.stack, "transactions")
    site.rebuild_in_halves("fraud_alerts", topic, lambda part: send(site, "transactions", part))
    wanted = examples.fraud_alerts(topic)
    some, all_pairs = len(wanted), sum(row["amount"] > 500 for row in rows)
    assert 0 < some < all_pairs, "some accounts should have been forgotten in time"
    assert site.view("fraud_alerts", "at", "account_id") == wanted


def let_producers_stamp(stack: Stack, topic: str) -> None:
    """Record timestamps are the producers', so that a test can say how time passes."""
    entry = ConfigEntry(
        "message.timestamp.type",
        "CreateTime",
        incremental_operation=AlterConfigOpType.SET,
    )
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    admin.incremental_alter_configs([resource])[resource].result()


def send(site: Site, topic: str, records: Iterable[Placed]) -> None:
    """Publishes transactions at their places, with their timestamps."""
    schema = fastavro.parse_schema(json.loads((SCHEMAS / "transaction.avsc").read_text()))
    assert site.settings.kafka is not None
    client = producer(site.settings.kafka)
    for record in records:
        value = io.BytesIO()
        fastavro.schemaless_writer(value, schema, record.row)
        client.produce(
            topic,
            header(1) + value.getvalue(),
            record.key,
            record.partition,
            timestamp=record.timestamp,
        )
    assert client.flush(30) == 0
