"""What cannot work is refused in one line that says where, with a hint, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from kappa.config import Settings
from tests.conftest import Finished, Stack
from tests.orders import PROCESSORS, SCHEMA, START_MS, Shop, json_lines, open_shop, orders

Kappa = Callable[..., Finished]
Plugin = Callable[[str, str], None]
Unique = Callable[[str], str]

NOWHERE = "127.0.0.1:1"


@pytest.fixture
def shop(settings: Settings, plugin: Plugin, unique: Unique, tmp_path: Path) -> Shop:
    return open_shop(settings, plugin, unique, tmp_path, records=orders(30, seed=1), partitions=1)


def refused(done: Finished, code: int, *words: str) -> None:
    """It ended with this status, one line of error that holds these words, and a hint."""
    assert done.code == code, done.err or done.out
    lines = done.err.strip().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", "hint"], done.err
    for word in words:
        assert word in done.err


def test_an_unknown_topic(kappa: Kappa, plugin: Plugin, unique: Unique) -> None:
    name = unique("lost")
    plugin("lost_plugin", PROCESSORS.format(name=name, topic="no.such.topic"))
    assert kappa("db", "upgrade").code == 0
    refused(kappa("replay", name), 3, "no.such.topic")
    refused(kappa("topics", "show", "no.such.topic"), 3, "no.such.topic")
    refused(kappa("produce", "no.such.topic", stdin="{}\n"), 3, "no.such.topic")


def test_an_unknown_processor_or_version(kappa: Kappa, shop: Shop) -> None:
    refused(kappa("replay", "nobody"), 3, "'nobody'", shop.processor)
    refused(kappa("replay", shop.processor, "--version", "9"), 3, "no version 9")
    refused(kappa("promote", shop.processor), 3, shop.processor)


def test_two_versions_of_one_processor_at_once(kappa: Kappa, shop: Shop) -> None:
    name = shop.processor
    refused(kappa("promote", f"{name}@1", "--version", "2"), 2, f"{name}@1")
    refused(kappa("promote", f"{name}@1", f"{name}@2"), 2, "named twice")


def test_settings_that_cannot_be_read(kappa: Kappa, tmp_path: Path) -> None:
    """Even root cannot read what lies at address zero of a process."""
    state = tmp_path / ".kappa"
    state.mkdir()
    endpoints = state / "endpoints.json"
    endpoints.write_text("{")
    unset = {"KAPPA_KAFKA__BOOTSTRAP_SERVERS": ""}
    refused(kappa("topics", "list", env=unset), 2, str(endpoints))
    settings = tmp_path / "kappa.toml"
    settings.symlink_to("/proc/self/mem")
    refused(kappa("topics", "list"), 2, str(settings))


def test_the_broker_is_down(kappa: Kappa, shop: Shop) -> None:
    down = {
        "KAPPA_KAFKA__BOOTSTRAP_SERVERS": NOWHERE,
        "KAPPA_KAFKA__DEFAULT_API_TIMEOUT_MS": "2000",
    }
    refused(kappa("replay", shop.processor, env=down), 5, NOWHERE)
    refused(kappa("topics", "list", env=down), 5, NOWHERE)
    refused(kappa("produce", shop.topic, stdin="{}\n", env=down), 5, NOWHERE)
    refused(kappa("schemas", "list", env=down), 5, NOWHERE)


def test_the_database_is_down(kappa: Kappa, shop: Shop) -> None:
    down = {"KAPPA_POSTGRES__URL": f"postgresql://me:secret@{NOWHERE}/x"}
    for command in (["replay", shop.processor], ["status"], ["db", "current"]):
        done = kappa(*command, env=down)
        refused(done, 5, "127.0.0.1")
        assert "secret" not in done.err


def test_a_database_without_kappas_tables(kappa: Kappa, shop: Shop, database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("DROP TABLE kappa_alembic_version")
    refused(kappa("replay", shop.processor), 4, "kappa db upgrade")


def test_truncated_history(kappa: Kappa, shop: Shop, stack: Stack, database: str) -> None:
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    for future in admin.delete_records([TopicPartition(shop.topic, 0, 10)]).values():
        future.result()
    refused(kappa("replay", shop.processor), 4, shop.topic, "partition=0", "--allow-truncated")
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM kappa_version").fetchone() == (0,)
    done = kappa("replay", shop.processor, "--allow-truncated", "--json")
    assert done.code == 0, done.err
    assert done.json["records"] == 20
    status = kappa("status", "--json").json
    assert "offset 10" in json.dumps(status)


def test_a_compacted_topic_where_all_of_history_is_needed(
    kappa: Kappa, plugin: Plugin, unique: Unique, tmp_path: Path
) -> None:
    shop = Shop(unique("orders"), unique("revenue"))
    (tmp_path / "order.avsc").write_text(json.dumps(SCHEMA))
    plugin("compact_plugin", PROCESSORS.format(name=shop.processor, topic=shop.topic))
    assert kappa("db", "upgrade").code == 0
    create = ["topics", "create", shop.topic, "--compact", "--schema", "order.avsc"]
    assert kappa(*create, "--key", "customer").code == 0
    refused(kappa("replay", shop.processor), 4, "compacted", shop.topic)


def test_code_that_changed_under_its_number(kappa: Kappa, shop: Shop, plugin: Plugin) -> None:
    assert kappa("replay", shop.processor).code == 0
    module = f"plugin_{shop.processor}"
    code = PROCESSORS.format(name=shop.processor, topic=shop.topic)
    plugin(module, code.replace("# ", "").replace("import polars as pl", "import polars as pl\n"))
    assert kappa("replay", shop.processor).code == 0
    plugin(module, code.replace('Tumbling("1m")', 'Tumbling("2m")'))
    refused(kappa("replay", shop.processor), 4, "version 1", "version 2")


def test_an_incompatible_schema(kappa: Kappa, shop: Shop, tmp_path: Path) -> None:
    added = {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "vat", "type": "double"}]}
    (tmp_path / "next.avsc").write_text(json.dumps(added))
    refused(kappa("schemas", "check", shop.topic, "next.avsc"), 4, "vat")
    refused(kappa("schemas", "register", shop.topic, "next.avsc"), 4, "vat")
    listed = kappa("schemas", "show", shop.topic, "--json").json
    assert "vat" not in json.dumps(listed)


@pytest.mark.parametrize("name", ["a" * 60, "two__words", "Upper", "kappa_things"])
def test_a_name_that_cannot_be(
    kappa: Kappa, shop: Shop, plugin: Plugin, name: str, database: str
) -> None:
    plugin("named_plugin", PROCESSORS.format(name=name, topic=shop.topic))
    refused(kappa("replay", name), 3, name)
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM kappa_version").fetchone() == (0,)


def test_a_recursive_schema(kappa: Kappa, tmp_path: Path, unique: Unique) -> None:
    node = {
        "type": "record",
        "name": "Node",
        "fields": [{"name": "next", "type": ["null", "Node"]}],
    }
    (tmp_path / "node.avsc").write_text(json.dumps(node))
    topic = unique("nodes")
    refused(kappa("topics", "create", topic, "--schema", "node.avsc"), 4, "recursive", "next")
    refused(kappa("topics", "show", topic), 3, topic)


def test_a_key_column_that_is_missing(kappa: Kappa, tmp_path: Path, unique: Unique) -> None:
    (tmp_path / "order.avsc").write_text(json.dumps(SCHEMA))
    topic = unique("keyed")
    done = kappa("topics", "create", topic, "--schema", "order.avsc", "--key", "shopper")
    assert done.code in (3, 4)
    refused(done, done.code, "shopper", "customer")
    refused(kappa("topics", "show", topic), 3, topic)


def test_a_null_event_time_is_a_dead_letter(
    kappa: Kappa, plugin: Plugin, unique: Unique, tmp_path: Path, database: str
) -> None:
    fields = [f for f in SCHEMA["fields"] if f["name"] != "placed_at"]
    when = {"type": "long", "logicalType": "timestamp-millis"}
    optional = {"name": "placed_at", "type": ["null", when], "default": None}
    (tmp_path / "open.avsc").write_text(json.dumps({**SCHEMA, "fields": [*fields, optional]}))
    topic, name = unique("orders"), unique("revenue")
    plugin("null_plugin", PROCESSORS.format(name=name, topic=topic))
    assert kappa("db", "upgrade").code == 0
    create = ["topics", "create", topic, "--schema", "open.avsc", "--partitions", "1"]
    assert kappa(*create, "--key", "customer").code == 0
    records = orders(5, seed=3)
    records[2]["placed_at"] = None
    records[3]["placed_at"] = START_MS + 10**12 * 5
    assert kappa("produce", topic, stdin=json_lines(records)).code == 0
    done = kappa("replay", name, "--json")
    assert done.code == 0, done.err
    assert (done.json["records"], done.json["dead"]) == (5, 2)
    with psycopg.connect(database) as connection:
        letters = connection.execute(
            'SELECT "offset", message, value IS NOT NULL, key FROM kappa_dead_letter'
            ' ORDER BY "offset"'
        ).fetchall()
    assert [(row[0], row[2]) for row in letters] == [(2, True), (3, True)]
    assert "null" in letters[0][1]
    assert "ahead" in letters[1][1]
    assert letters[0][3] == records[2]["customer"].encode()
