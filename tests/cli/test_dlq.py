"""Dead letters as a person meets them: seen, checked, exported, retried, dropped."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from typer.testing import CliRunner

from kappa.avro.wire import header
from kappa.cli.app import app
from kappa.config import Settings
from kappa.errors import (
    CompactedTopic,
    ConfigError,
    NotRetryable,
    TopicRecreated,
    UnknownLetter,
    UnknownVersion,
)
from kappa.log.client import confluent_config
from kappa.log.copies import HEADER, header_value
from kappa.log.history import topic_history
from kappa.log.publish import Placed, Producer
from kappa.operations import db, topics
from kappa.registry.topic import TopicRegistry, value_subject
from tests.conftest import Finished
from tests.faults import wait_until
from tests.orders import SCHEMA, START_MS, publish

Kappa = Callable[..., Finished]

JUNK = b"\xff not avro"

CODE = """
import polars as pl
from kappa import DeadLetterLimit, KeyedProcessor, Projection, Source, ValueState


class Strict(KeyedProcessor):
    name, version = "{keyed}", 1
    source = Source("{topic}", event_time="placed_at")
    key = "customer"
    output = {{"order_id": pl.Int64()}}
    greeted = ValueState(bool)

    def on_event(self, event, ctx):
        if event.product == "hello":
            self.greeted.set(True)
        elif not self.greeted.get():
            raise LookupError("who is " + ctx.key)
        ctx.emit(order_id=event.order_id)


class Lenient(KeyedProcessor):
    name, version = "{keyed}", 2
    source = Source("{topic}", event_time="placed_at")
    key = "customer"
    output = {{"order_id": pl.Int64()}}

    def on_event(self, event, ctx):
        ctx.emit(order_id=event.order_id)


class Alarmed(KeyedProcessor):
    name, version = "{keyed}", 3
    source = Source("{topic}", event_time="placed_at")
    key = "customer"
    output = {{"order_id": pl.Int64()}}

    def on_event(self, event, ctx):
        ctx.set_event_timer(ctx.event_time)

    def on_timer(self, at, ctx):
        raise LookupError("the timer fails")


lines = Projection(
    name="{lines}",
    version=1,
    source=Source("{topic}", event_time="placed_at"),
    columns=["order_id"],
    max_dead_letters=DeadLetterLimit(count=1),
)
"""


class Shop:
    """A topic with an order of an unknown customer and junk, read by two processors."""

    def __init__(
        self, settings: Settings, environment: dict[str, str], database: str, names: list[str]
    ) -> None:
        self.topic, self.keyed, self.lines = names
        self.settings = settings
        self.environment = environment
        self.database = database

    def run(self, *args: str) -> Any:
        """A command within this process; what it raises, it raises."""
        done = CliRunner().invoke(
            app, [*args, "--json"], env=self.environment, catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def ids(self, name: str) -> list[int]:
        with psycopg.connect(self.database) as connection:
            rows = connection.execute(f'SELECT order_id FROM "{name}" ORDER BY 1').fetchall()
        return [row[0] for row in rows]

    def states(self) -> list[tuple[int, int | None, int | None, bool]]:
        """Offset, what it is a copy of, what was applied in its place, whether it was dropped."""
        with psycopg.connect(self.database) as connection:
            return connection.execute(
                'SELECT "offset", retry_of, retried_by, dropped_at IS NOT NULL'
                " FROM kappa_dead_letter WHERE processor = %s AND version = 1 ORDER BY 1",
                [self.keyed],
            ).fetchall()

    @contextmanager
    def following(self, directory: Path, *names: str) -> Iterator[subprocess.Popen[bytes]]:
        """``kappa run NAMES…``, killed at the end if it is still there."""
        command = [sys.executable, "-m", "kappa", "run", *names]
        with subprocess.Popen(
            command, cwd=directory, env=self.environment, stderr=subprocess.PIPE
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def junk(self) -> None:
        with Producer(self.settings.kafka) as producer:
            producer.send_placed(self.topic, [Placed(0, b"ada", JUNK)])

    def order(self, directory: Path, number: int, product: str, customer: str = "ada") -> None:
        record = {
            "order_id": number,
            "customer": customer,
            "product": product,
            "amount": 1.0,
            "placed_at": START_MS,
        }
        publish(self.settings, self.topic, directory, [record])


@pytest.fixture
def shop(
    settings: Settings,
    plugin: Callable[[str, str], None],
    unique: Callable[[str], str],
    environment: dict[str, str],
    database: str,
    tmp_path: Path,
) -> Shop:
    shop = Shop(
        settings, environment, database, [unique(stem) for stem in ("orders", "strict", "lines")]
    )
    schema = tmp_path / "order.avsc"
    schema.write_text(json.dumps(SCHEMA))
    code = CODE.format(keyed=shop.keyed, topic=shop.topic, lines=shop.lines)
    plugin(f"plugin_{shop.keyed}", code)
    db.upgrade(settings)
    topics.create(settings, shop.topic, partitions=1, schema_file=schema, key="customer")
    shop.order(tmp_path, 0, "tea")
    shop.junk()
    shop.order(tmp_path, 2, "hello")
    for name in (shop.keyed, shop.lines):
        shop.run("replay", name, "--version", "1")
    return shop


def test_the_commands_as_a_person_runs_them(shop: Shop, kappa: Kappa, tmp_path: Path) -> None:
    def run(*args: str) -> str:
        done = kappa("dlq", *args)
        assert done.code == 0, done.err
        return done.out + done.err

    keyed, order, junk = shop.keyed, f"{shop.topic}/0/0", f"{shop.topic}/0/1"
    listed = run("list", keyed).split("\n")
    assert listed[1].split() == ["BadMagic", "1", "1", "0", "0"]
    assert any(junk in line and "open" in line for line in listed)
    assert "raise LookupError" in run("show", keyed, order)
    assert "2 letters written" in run("export", keyed, "letters.jsonl")
    assert "each met empty state" in run("check", keyed, "--version", "2")
    assert "1 record published again" in run("retry", keyed, order)
    assert "1 letter of" in run("drop", keyed, junk, "--yes")
    exported = [json.loads(line) for line in (tmp_path / "letters.jsonl").read_text().splitlines()]
    assert [(one["offset"], one["error_class"]) for one in exported] == [
        (0, "LookupError"),
        (1, "BadMagic"),
    ]
    assert base64.b64decode(exported[1]["value"]) == JUNK


def test_what_a_letter_says_is_printed_as_it_is(shop: Shop, kappa: Kappa, tmp_path: Path) -> None:
    """Brackets and colons are no markup of ours."""
    customer = "[/cart] [null] :id:"
    shop.order(tmp_path, 3, "tea", customer)
    shop.run("replay", shop.keyed, "--version", "1")
    for args in (("list", shop.keyed), ("show", shop.keyed, f"{shop.topic}/0/3")):
        done = kappa("dlq", *args)
        assert done.code == 0, done.err
        assert f"who is {customer}" in done.out


def test_letters_are_seen_checked_and_retried(shop: Shop) -> None:
    keyed, lines = shop.keyed, shop.lines
    listed = shop.run("dlq", "list", keyed)
    assert [(one["error_class"], one["open"]) for one in listed["classes"]] == [
        ("BadMagic", 1),
        ("LookupError", 1),
    ]
    assert sorted(one["offset"] for one in listed["newest"]) == [0, 1]

    (shown,) = shop.run("dlq", "show", keyed, f"{shop.topic}/0/0")["letters"]
    assert shown["message"] == "who is ada"
    assert base64.b64decode(shown["key"]) == b"ada"
    registry = TopicRegistry(shop.settings.kafka, shop.settings.registry.topic)
    schema_id = registry.latest(value_subject(shop.topic)).schema_id
    assert base64.b64decode(shown["value"]).startswith(header(schema_id))

    checked = shop.run("dlq", "check", keyed, "--version", "2")
    assert (checked["letters_of"], checked["fixed"], checked["as_copies"]) == (1, 1, False)
    (failing,) = checked["failing"]
    assert (failing["place"], failing["error_class"]) == (f"{shop.topic}/0/1", "BadMagic")
    itself = shop.run("dlq", "check", keyed, "--version", "1")
    assert (itself["fixed"], itself["as_copies"], itself["with_empty_state"]) == (0, True, True)
    assert shop.states() == [(0, None, None, False), (1, None, None, False)]

    sent = shop.run("dlq", "retry", keyed)
    assert (sent["copies"], sent["topics"]) == (2, [shop.topic])
    for name in (keyed, lines):
        shop.run("replay", name, "--version", "1")
    assert shop.ids(keyed + "__v1") == [0, 2]
    assert shop.ids(lines + "__v1") == [0, 2]  # it had taken the order, so it leaves the copy out
    # The order was applied; the junk is junk again, and its letter stays open.
    applied = (0, None, 3, False)
    assert shop.states() == [applied, (1, None, None, False), (4, 1, None, False)]

    # A copy that failed stands for its original: one more copy, which names that.
    assert shop.run("dlq", "retry", keyed, f"{shop.topic}/0/4")["copies"] == 1
    replayed = shop.run("replay", keyed, "--version", "1")
    assert (replayed["records"], replayed["dead"]) == (1, 1)
    assert shop.states()[2:] == [(4, 1, None, False), (5, 1, None, False)]

    # Version 2 has no letter of the order: it takes the original and leaves its copy out.
    replayed = shop.run("replay", keyed, "--version", "2")
    assert (replayed["records"], replayed["dead"], replayed["filtered"]) == (6, 3, 1)
    assert shop.ids(keyed + "__v2") == [0, 2]

    with pytest.raises(NotRetryable, match="applied already"):
        shop.run("dlq", "retry", keyed, f"{shop.topic}/0/0", "--version", "1")


def test_a_timer_that_fails_is_no_failure_of_its_record(shop: Shop) -> None:
    checked = shop.run("dlq", "check", shop.keyed, "--version", "3")
    assert checked["fixed"] == 1
    assert [one["place"] for one in checked["failing"]] == [f"{shop.topic}/0/1"]


def test_a_version_that_is_followed_stops_at_its_limit(shop: Shop, tmp_path: Path) -> None:
    """It has one letter, and one is what it goes on with."""
    with shop.following(tmp_path, shop.lines) as run:
        shop.junk()
        _, said = run.communicate(timeout=60)
        assert run.returncode == 4
        assert b"more dead letters than it allows; the last: BadMagic: " in said
    assert [one["letters"] for one in shop.run("dlq", "list", shop.lines)["classes"]] == [1]
    assert shop.run("dlq", "drop", shop.lines, "--all", "--yes")["dropped"] == 1

    def opened() -> list[int]:
        return [one["open"] for one in shop.run("dlq", "list", shop.lines)["classes"]]

    with shop.following(tmp_path, shop.lines, shop.keyed):
        wait_until("it goes on", lambda: opened() == [1])
        shop.run("dlq", "retry", shop.keyed, f"{shop.topic}/0/0")
        wait_until("the copy is applied", lambda: (0, None, 4, False) in shop.states())


def test_what_cannot_be_done_is_refused(shop: Shop, tmp_path: Path) -> None:
    keyed, file = shop.keyed, tmp_path / "letters.jsonl"
    file.write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        shop.run("dlq", "export", keyed, str(file))
    assert file.read_text() == "mine"
    assert list(tmp_path.glob(".letters*")) == []
    with pytest.raises(ConfigError, match="which letters"):
        shop.run("dlq", "drop", keyed, "--yes")
    declined = CliRunner().invoke(
        app, ["dlq", "drop", keyed, "--all"], env=shop.environment, input="n\n"
    )
    assert declined.exit_code == 1
    with pytest.raises(UnknownLetter):
        shop.run("dlq", "drop", keyed, f"{shop.topic}/0/0", f"{shop.topic}/0/2", "--yes")
    assert shop.states() == [(0, None, None, False), (1, None, None, False)]
    with pytest.raises(ConfigError, match="no place"):
        shop.run("dlq", "show", keyed, "orders")
    with pytest.raises(UnknownVersion):
        shop.run("dlq", "list", "nobody")


def test_a_copy_of_a_dropped_letter_is_applied_all_the_same(shop: Shop) -> None:
    """Else a replay would come to other rows than what runs: it knows nothing of the drop."""
    assert shop.run("dlq", "retry", shop.keyed, "--error-class", "LookupError")["copies"] == 1
    assert shop.run("dlq", "drop", shop.keyed, "--all", "--yes")["dropped"] == 2
    assert shop.run("dlq", "retry", shop.keyed)["copies"] == 0
    with pytest.raises(NotRetryable, match="was dropped"):
        shop.run("dlq", "retry", shop.keyed, f"{shop.topic}/0/1")
    shop.run("replay", shop.keyed, "--version", "1")
    assert shop.ids(shop.keyed + "__v1") == [0, 2]
    assert shop.states()[0] == (0, None, 3, True)


def test_nothing_is_retried_into_a_topic_that_is_compacted_or_another_one(shop: Shop) -> None:
    """Compaction would keep the old record's copy, and remove what came after the original."""
    admin = AdminClient({"bootstrap.servers": shop.settings.kafka.bootstrap_servers})
    compact = ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource("topic", shop.topic, incremental_configs=[compact])
    admin.incremental_alter_configs([resource])[resource].result()
    with pytest.raises(CompactedTopic):
        shop.run("dlq", "retry", shop.keyed)
    (part,) = topic_history(shop.settings.kafka, shop.topic).partitions
    assert part.end == 3

    old = topic_history(shop.settings.kafka, shop.topic).topic_id
    admin.delete_topics([shop.topic])[shop.topic].result()
    while shop.topic in admin.list_topics(timeout=10).topics:
        pass
    topics.create(shop.settings, shop.topic, partitions=1)
    assert topic_history(shop.settings.kafka, shop.topic).topic_id != old
    with pytest.raises(TopicRecreated):
        shop.run("dlq", "retry", shop.keyed)
    (part,) = topic_history(shop.settings.kafka, shop.topic).partitions
    assert part.end == 0
    assert shop.run("dlq", "show", shop.keyed, f"{shop.topic}/0/1")["letters"]


def test_a_copy_names_its_original(shop: Shop) -> None:
    """In the topic, for whoever reads it: same key, same bytes, and the header."""
    shop.run("dlq", "retry", shop.keyed, f"{shop.topic}/0/1")
    consumer = Consumer({**confluent_config(shop.settings.kafka), "group.id": "reads-copies"})
    consumer.assign([TopicPartition(shop.topic, 0, 3)])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    topic_id = topic_history(shop.settings.kafka, shop.topic).topic_id
    assert (message.key(), message.value(), message.offset()) == (b"ada", JUNK, 3)
    assert message.headers() == [(HEADER, header_value(topic_id, 0, 1))]
