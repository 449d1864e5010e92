"""The life of two versions by commands: built, promoted, compared with what was, rolled back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from kappa.cli.promote import persistence
from kappa.config import Settings
from kappa.operations import topics
from kappa.tables.engine import connect
from tests.conftest import Finished, Stack
from tests.integration.tables_scenes import old_snapshot
from tests.orders import EXTENDED, Shop, open_shop, orders, publish, rebuild

Kappa = Callable[..., Finished]
Plugin = Callable[[str, str], None]
Unique = Callable[[str], str]


@pytest.fixture
def shop(settings: Settings, plugin: Plugin, unique: Unique, tmp_path: Path) -> Shop:
    """Version 2 of its processor has a column more than version 1."""
    records = orders(60, seed=1)
    return open_shop(settings, plugin, unique, tmp_path, records=records, code=EXTENDED)


def ok(done: Finished) -> Finished:
    assert done.code == 0, done.err
    return done


def test_there_and_back_again(
    kappa: Kappa, shop: Shop, settings: Settings, database: str, tmp_path: Path
) -> None:
    name = shop.processor
    ok(kappa("replay", name, "--version", "1"))
    assert [one["version"] for one in ok(kappa("status", name, "--json")).json] == [1]
    first = ok(kappa("promote", f"{name}@1", "--json")).json
    assert first["moves"] == [
        {"processor": name, "from_version": None, "to_version": 1, "changed": True}
    ]

    dry = ok(kappa("replay", name, "--dry-run", "--json")).json
    assert dry["plan"]["version"] == 2
    assert dry["seconds"] > 0
    assert dry["disk_bytes"] > 0
    ok(kappa("replay", name))
    (plan,) = ok(kappa("promote", name, "--plan", "--json")).json
    assert (plan["from_version"], plan["to_version"], plan["refusal"]) == (1, 2, None)
    assert {at["behind"] for at in plan["partitions"]} == {0}
    assert f"{name}__v2" in plan["statements"][0]
    with psycopg.connect(database) as connection:
        columns = [c.name for c in connection.execute(f"SELECT * FROM {name}").description or ()]
    assert "dearest" not in columns, "a plan changes nothing"
    with psycopg.connect(database) as reader:  # idle in its transaction
        reader.execute(f"SELECT * FROM {name}")
        held = kappa("promote", name, "--timeout", "0.5")
    assert held.code == 5
    assert "waiting: a lock was not free in time" in held.err
    assert "version 1 stands by" in ok(kappa("promote", name)).out

    publish(settings, shop.topic, tmp_path, orders(20, seed=2))
    ok(kappa("replay", name, "--version", "2"))
    behind = kappa("rollback", name, "--recreate", "--timeout", "0.5", "--drain", "0")
    assert behind.code == 4
    assert "behind what readers have seen" in behind.err
    ok(kappa("replay", name, "--version", "1"))
    narrower = kappa("rollback", name)
    assert narrower.code == 4
    assert "--recreate" in narrower.err
    ok(kappa("rollback", name, "--recreate"))
    with psycopg.connect(database) as connection:
        columns = [c.name for c in connection.execute(f"SELECT * FROM {name}").description or ()]
    assert "dearest" not in columns

    steps = ok(kappa("versions", "list", name, "--json")).json
    assert [(step["version"], step["to_state"]) for step in steps][:3] == [
        (1, "building"),
        (1, "ready"),
        (1, "serving"),
    ]
    assert steps[-1]["who"]
    assert "serving" in ok(kappa("versions", "list", name)).out


TWO = (
    EXTENDED
    + """
lines = Projection(
    name="{name}_lines",
    version=1,
    source=Source("{topic}"),
    columns=["product"],
)

moved = Projection(
    name="{name}_lines",
    version=2,
    source=Source("{topic}_moved"),
    columns=["product"],
)
"""
)
"""Another processor, whose version 2 reads another topic."""


def test_what_a_promote_can_be_asked_for(
    kappa: Kappa, settings: Settings, plugin: Plugin, unique: Unique, tmp_path: Path, database: str
) -> None:
    shop = open_shop(settings, plugin, unique, tmp_path, records=orders(60, seed=1), code=TWO)
    other = f"{shop.topic}_moved"
    name, lines = shop.processor, f"{shop.processor}_lines"
    schema = tmp_path / "order.avsc"
    topics.create(settings, other, partitions=1, schema_file=schema, key="customer")
    publish(settings, other, tmp_path, orders(5, seed=1))
    for processor in (name, lines):
        for version in (1, 2):
            rebuild(settings, replace(shop, processor=processor), version=version)

    both = ok(kappa("promote", f"{name}@1", f"{lines}@1", "--json")).json
    assert [(move["processor"], move["to_version"], move["changed"]) for move in both["moves"]] == [
        (name, 1, True),
        (lines, 1, True),
    ]

    missing = kappa("promote", name, "--require-diff")
    assert missing.code == 4
    assert "was never compared with version 1" in missing.err
    ok(kappa("diff", name, "--expect-diff"))
    engine = connect(database)
    with old_snapshot(engine):
        assert (
            "would wait: a reader's snapshot is older" in ok(kappa("promote", name, "--plan")).out
        )
        held = kappa("promote", name, "--timeout", "0.3")
        assert held.code == 4
        assert "has a transaction older than the promote" in held.err
        done = ok(kappa("promote", name, "--require-diff", "--ignore-snapshots"))
        assert f"{name} version 2 is serving" in done.out
    engine.dispose()

    refused = kappa("promote", lines)
    assert refused.code == 4
    assert f"kappa promote {lines}@2 --drop-source {shop.topic}" in refused.err
    ok(kappa("promote", f"{lines}@2", "--drop-source", shop.topic))
    ok(kappa("rollback", lines, "--drop-source", other))


def test_the_time_of_a_drain_is_what_was_asked_for() -> None:
    asked = persistence(30, 7)
    assert (asked.deadline_s, asked.drain_s) == (30, 7)
    assert asked.drain_after is not None
    assert persistence(30, 0).drain_after is None, "never"


def test_a_version_is_shown_whole(kappa: Kappa, shop: Shop) -> None:
    ok(kappa("replay", shop.processor, "--version", "1"))
    shown = ok(kappa("versions", "show", shop.processor, "1", "--json")).json
    assert shown["state"] == "ready"
    assert shown["manifest"]["records"] == 60
    assert sum(at["to"] - at["from"] for at in shown["manifest"]["offsets"]) == 60
    assert "fingerprint" in ok(kappa("versions", "show", shop.processor, "1")).out
    assert kappa("versions", "show", shop.processor, "9").code == 3
    assert kappa("versions", "list", "nobody").code == 3


def test_other_code_goes_on_only_once_it_is_accepted(
    kappa: Kappa, shop: Shop, plugin: Plugin
) -> None:
    name = shop.processor
    ok(kappa("replay", name, "--version", "1"))
    code = EXTENDED.format(name=name, topic=shop.topic) + "\nUNUSED = 1\n"
    plugin(f"plugin_{name}", code)
    dry = kappa("replay", name, "--version", "1", "--dry-run", "--json")
    assert dry.code == 4
    assert [one["error"] for one in dry.json["plan"]["refusals"]] == ["FingerprintChanged"]
    assert kappa("replay", name, "--version", "1").code == 4
    done = ok(kappa("versions", "accept", name, "1", "--reason", "a constant", "--json")).json
    assert done["changed"]
    ok(kappa("replay", name, "--version", "1"))
    shown = ok(kappa("versions", "show", name, "1", "--json")).json
    assert shown["accepted"][0]["reason"] == "a constant"
    assert shown["accepted"][0]["before"] == done["before"]


def test_a_dry_run_lists_every_refusal(
    kappa: Kappa, shop: Shop, stack: Stack, database: str
) -> None:
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    for future in admin.delete_records([TopicPartition(shop.topic, 0, 5)]).values():
        future.result()
    with psycopg.connect(database) as connection:
        connection.execute(f"CREATE TABLE {shop.processor}__v1 (id bigint)")
    dry = kappa("replay", shop.processor, "--version", "1", "--dry-run", "--json")
    assert dry.code == 4
    assert sorted(one["error"] for one in dry.json["plan"]["refusals"]) == [
        "HistoryTruncated",
        "NameTaken",
    ]


def test_what_is_dropped_is_asked_for_first(kappa: Kappa, shop: Shop, database: str) -> None:
    name = shop.processor
    ok(kappa("replay", name, "--version", "1"))
    asked = kappa("retire", name, "--version", "1", stdin="n\n")
    assert asked.code == 1
    assert "for good? its number is never used again" in asked.err
    with psycopg.connect(database) as connection:
        connection.execute(f"SELECT 1 FROM {name}__v1")
    done = ok(kappa("retire", name, "--version", "1", stdin="y\n"))
    assert f"{name}__v1" in done.out
    assert "already" in ok(kappa("retire", name, "--version", "1", "--yes")).out
    for command in (["promote", name], ["dlq", "list", name]):
        gone = kappa(*command)
        assert gone.code == 3
        assert f"every version of '{name}' is retired" in gone.err
    assert kappa("replay", name, "--version", "1").code == 4
    assert kappa("abort", name, "--yes").code == 3


def test_nothing_is_asked_about_what_would_be_refused(kappa: Kappa, shop: Shop) -> None:
    name = shop.processor
    ok(kappa("replay", name, "--version", "1"))
    ok(kappa("promote", name))
    for command, said in (("retire", "is what readers see"), ("abort", "is serving, not being")):
        refused = kappa(command, name, "--version", "1", stdin="y\n")
        assert refused.code == 4
        assert said in refused.err
        assert "[y/N]" not in refused.err


def test_a_name_that_nobody_knows_is_said_to_be_none(kappa: Kappa, shop: Shop) -> None:
    ok(kappa("replay", shop.processor, "--version", "1"))
    unknown = shop.processor + "e"
    for command in (
        ["retire", unknown, "--version", "1", "--yes"],
        ["verify", unknown],
        ["promote", unknown],
        ["rollback", unknown],
        ["versions", "list", unknown],
        ["dlq", "list", unknown],
        ["status", unknown],
    ):
        said = kappa(*command)
        assert said.code == 3, command
        assert f"no version of '{unknown}' was ever built (known={shop.processor})" in said.err
    ran = kappa("run", unknown)
    assert ran.code == 3
    assert f"no processor is called '{unknown}'" in ran.err


def test_a_build_that_fails_says_why_and_goes_on_or_is_given_up(
    kappa: Kappa, shop: Shop, database: str
) -> None:
    """Half of its records are taken away while it is built: it cannot end."""
    name = shop.processor
    killed = kappa("replay", name, "--version", "1", env={"KAPPA_FAILPOINT": "version_created"})
    assert killed.code == -9
    with psycopg.connect(database) as connection:
        connection.execute(f"DROP TABLE {name}__v1")
    failed = kappa("replay", name, "--version", "1")
    assert failed.code != 0
    (*_, last) = ok(kappa("versions", "list", name, "--json")).json
    assert last["to_state"] == "failed"
    assert last["detail"]["error"]
    assert f"{name}__v1__late" in ok(kappa("abort", name, "--yes")).out
