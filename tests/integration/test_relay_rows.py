"""Outputs of rows that change: the last value of a key is what the view shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest

from kappa.errors import RelayFenced
from kappa.operations.promote import promote
from kappa.tables import outbox
from tests.faults import Site, wait_until
from tests.integration.kafka_scenes import make_topic
from tests.integration.relay_scenes import STEPS, Found, Killed, reading, relaying
from tests.readings import START_MS, Reading, Unsent, good, readings

MINUTE = 60_000
BATCH = 5

WINDOWS = """
import polars as pl
from kappa import *

processor = WindowedAggregate(
    name="{name}",
    version=VERSION,
    source=Source("{topic}", event_time="at", out_of_orderness="20s"),
    key=[KEY],
    window=WINDOW,
    emit="EMIT",
    aggregates={{
        "readings": Count(),
        "total": Sum(pl.col("value").cast(pl.Decimal(12, 2))),
        "mean": Mean("value"),
        "highest": Max("code"),
    }},
    publish={{"main": ToTopic("OUTPUT", guarantee="GUARANTEE", partitions=2)}},
)
"""

LATEST = """
import polars as pl
from kappa import Projection, Source, ToTopic

processor = Projection(
    name="{name}",
    version=VERSION,
    source=Source("{topic}"),
    columns=["sensor", "code", pl.col("at").dt.date().alias("day")],
    latest_by="sensor",
    publish={{"main": ToTopic("OUTPUT", guarantee="GUARANTEE", partitions=2)}},
)
"""


def declared(
    site: Site,
    topic: str,
    code: str,
    *,
    window: str = 'Tumbling("1m")',
    emit: str = "updates",
    key: str = '"sensor"',
    guarantee: str = "exactly_once",
) -> tuple[str, str]:
    """Installs a processor; returns its name and its output's topic."""
    output = f"rows.{topic}"
    filled = {"WINDOW": window, "EMIT": emit, "KEY": key, "GUARANTEE": guarantee, "VERSION": "1"}
    for word, text in {"OUTPUT": output, **filled}.items():
        code = code.replace(word, text)
    return site.processor(code, topic), output


def declare_second(site: Site, name: str) -> None:
    """A version 2 that does the same."""
    module = f"{name}_second"
    code = (site.plugins / f"{name}_plugin.py").read_text().replace("version=1", "version=2")
    (site.plugins / f"{module}.py").write_text(code)
    info = site.plugins / f"{name}_plugin-1.0.dist-info" / "entry_points.txt"
    info.write_text(f"{info.read_text()}{name}.v2 = {module}:processor\n")


def send(site: Site, topic: str, rows: Sequence[Reading | str], partitions: int = 2) -> None:
    """Publishes readings, and tombstones of sensors, each sensor in a partition of its own."""
    schema_id = site.schema_id(topic)
    records = []
    for row in rows:
        sensor = row if isinstance(row, str) else row.sensor
        part = sum(sensor.encode()) % partitions
        if isinstance(row, str):
            records.append(Unsent(part, row.encode(), None))
        else:
            records.append(good(schema_id, part, row))
    site.publish(topic, records)


def serve(site: Site, name: str) -> None:
    site.replay(name)
    promote(site.settings, {name: 1})


def view(site: Site, name: str) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in site.query(f"SELECT * FROM {name}")]


def is_sent(site: Site, name: str) -> bool:
    return site.query("SELECT count(*) FROM kappa_dirty_key WHERE processor = :p", p=name) == [(0,)]


def ordered(rows: Sequence[dict[str, Any] | None]) -> list[str]:
    return sorted(json.dumps(row, default=str, sort_keys=True) for row in rows if row is not None)


def repeated(found: list[Found]) -> list[Found]:
    """Records that say of their key what the one before said of it."""
    last: dict[str | None, Any] = {}
    again = []
    for one in sorted(found, key=lambda one: (one.partition, one.offset)):
        if one.key in last and last[one.key] == one.row:
            again.append(one)
        last[one.key] = one.row
    return again


def all_sent(site: Site, name: str, output: str) -> list[Found]:
    """What a consumer finds once everything has been sent."""
    with relaying(site.settings, name):
        wait_until("all is sent, or chosen", lambda: is_sent(site, name))
    with reading(site, output) as reader:
        return reader.read_to_end()


def test_killed_relays_leave_the_last_value_of_every_key_as_the_view_has_it(site: Site) -> None:
    topic = site.topic(2)
    name, output = declared(site, topic, WINDOWS)
    serve(site, name)
    stream = readings(700, seed=5)
    send(site, topic, stream)
    with Killed(site.settings, name, batch_rows=BATCH) as relay, ThreadPoolExecutor(1) as pool:
        replaying = pool.submit(site.replay, name, 6)
        for kill in range(9):
            relay.run_until_killed(f"{STEPS[kill % 3]}@{1 + kill // 3}")
        replaying.result()
    found = all_sent(site, name, output)
    last = {one.key: one.row for one in found}
    rows = view(site, name)
    assert len(rows) > 40
    assert ordered(list(last.values())) == ordered(rows)
    assert not repeated(found)
    key = json.loads(found[0].key or "")
    assert key.keys() == {"sensor", "window_start"}


@pytest.mark.parametrize("guarantee", ["at_least_once", "at_most_once"])
def test_weaker_guarantees_send_rows_too(site: Site, guarantee: str) -> None:
    topic = site.topic(2)
    name, output = declared(site, topic, WINDOWS, guarantee=guarantee, window="None")
    serve(site, name)
    send(site, topic, readings(100, seed=6))
    site.replay(name, 20)
    found = all_sent(site, name, output)
    assert {one.key for one in found} == {row["sensor"] for row in view(site, name)}
    assert ordered([one.row for one in found]) == ordered(view(site, name))


@pytest.mark.parametrize("guarantee", ["at_least_once", "at_most_once"])
def test_a_relay_that_slept_publishes_no_older_value_behind_a_newer_one(
    site: Site, guarantee: str
) -> None:
    topic = site.topic(2)
    name, output = declared(site, topic, LATEST, guarantee=guarantee)
    serve(site, name)
    send(site, topic, [Reading("s1", 1, 0.0, START_MS)])
    site.replay(name)
    with Killed(site.settings, name, batch_rows=BATCH) as relay:
        relay.run_until_stopped("relay_chosen")
        send(site, topic, [Reading("s1", 2, 0.0, START_MS)])
        site.replay(name)
        with relaying(site.settings, name):
            wait_until("all is sent", lambda: is_sent(site, name))
        assert relay.go_on() == RelayFenced.exit_code
    with reading(site, output) as reader:
        found = reader.read_to_end()
    assert [one.row and one.row["code"] for one in found] == [2]


def test_rows_that_are_too_much_for_the_broker_at_once_leave_in_smaller_batches(
    site: Site,
) -> None:
    topic = site.topic(2)
    name, output = declared(site, topic, LATEST)
    serve(site, name)
    make_topic(site.kafka, output, 2, max_message_bytes="1000")
    sensors = [sha256(str(n).encode()).hexdigest() for n in range(200)]
    send(site, topic, [Reading(sensor, n, 0.0, START_MS) for n, sensor in enumerate(sensors)])
    site.replay(name)
    with relaying(site.settings, name) as told, reading(site, output) as reader:
        wait_until("all is sent", lambda: is_sent(site, name))
        assert any(one.failure for one in told), "a batch was too much"
        reader.wait_for(200)
    assert ordered(list(reader.last_by_key().values())) == ordered(view(site, name))
    assert repeated(reader.found) == []


def test_a_deleted_row_leaves_as_a_tombstone(site: Site) -> None:
    topic = site.topic(2)
    name, output = declared(site, topic, LATEST)
    serve(site, name)
    send(site, topic, [Reading(f"s{n % 4}", n, 0.0, START_MS) for n in range(10)])
    site.replay(name)
    with site.engine.connect() as connection:
        assert outbox.backlog(connection)[name, "main"] == (4, 0)
    with relaying(site.settings, name), reading(site, output) as reader:
        reader.wait_for(4)
        send(site, topic, ["s1", "s2", Reading("s2", 99, 0.0, START_MS)])
        site.replay(name)
        reader.wait_for(6)
        last = {one.key: one.row for one in reader.found}
    assert {key: row and row["code"] for key, row in last.items()} == {
        "s0": 8,
        "s1": None,
        "s2": 99,
        "s3": 7,
    }
    assert ordered(list(last.values())) == ordered(view(site, name))


def test_sessions_that_meet_are_replaced_by_one(site: Site) -> None:
    topic = site.topic(1)
    name, output = declared(site, topic, WINDOWS, window='Session("30s")')
    serve(site, name)
    apart = [Reading("s1", n, 1.5, START_MS + at * 1_000) for n, at in enumerate((0, 40, 80))]
    send(site, topic, apart, 1)
    site.replay(name)
    with relaying(site.settings, name), reading(site, output) as reader:
        reader.wait_for(3)
        send(site, topic, [Reading("s1", 9, 1.5, START_MS + 60_000)], 1)
        site.replay(name)
        found = reader.wait_for(5)
    assert [one.row["total"] for one in found[:3] if one.row] == [Decimal("1.50")] * 3
    last = {one.key: one.row for one in found}
    assert ordered(list(last.values())) == ordered(view(site, name))
    assert len(view(site, name)) == 2
    assert list(last.values()).count(None) == 1


@pytest.mark.parametrize("window", ['Tumbling("1m")', 'Session("30s")'])
def test_a_final_window_leaves_once_and_only_when_it_is_final(site: Site, window: str) -> None:
    topic = site.topic(1)
    name, output = declared(site, topic, WINDOWS, window=window, emit="final")
    minutes = [Reading("s1", n, 1.0, START_MS + n * MINUTE) for n in range(7)]
    send(site, topic, minutes[:3], 1)
    serve(site, name)
    known = view(site, name)
    assert known, "some windows should be final before the output begins"
    with Killed(site.settings, name, batch_rows=1) as relay:
        for kill, minute in enumerate(minutes[3:]):
            send(site, topic, [minute, minute], 1)
            site.replay(name)
            relay.run_until_killed(STEPS[kill % 3])
        relay.start()
        wait_until("all is sent", lambda: is_sent(site, name))
    with reading(site, output) as reader:
        found = reader.read_to_end()
    assert ordered([one.row for one in found]) == ordered(
        [row for row in view(site, name) if row not in known]
    )
    assert all(one.row and one.row["readings"] in (1, 2) for one in found)


@pytest.mark.parametrize(
    ("window", "key"), [('Tumbling("1m")', '"code"'), ('Session("30s")', '"sensor"')]
)
def test_first_records_of_a_partition_correct_what_has_left(
    site: Site, window: str, key: str
) -> None:
    """Nothing holds back what is final while partition 1 is empty. A session that goes on is not
    final any more."""
    topic = site.topic(2)
    name, output = declared(site, topic, WINDOWS, window=window, key=key, emit="final")
    here, there = "s1", "s2"  # in partitions of their own
    serve(site, name)

    def seconds(sensor: str, *offsets: int) -> list[Reading]:
        return [Reading(sensor, 1, 1.0, START_MS + offset * 1_000) for offset in offsets]

    steps = [
        seconds(here, 0, 120, 240),
        seconds(there, 1),
        seconds(there, 25),
        seconds(there, *range(50, 330, 25)),
        [*seconds(here, 600), *seconds(there, 600)],
    ]
    with relaying(site.settings, name), reading(site, output) as reader:

        def is_shown() -> bool:
            reader.read(0.1)
            return ordered(list(reader.last_by_key().values())) == ordered(view(site, name))

        for step in steps:
            send(site, topic, step)
            site.replay(name)
            wait_until("all is sent", lambda: is_sent(site, name))
            wait_until("what is read is what is seen", is_shown)
        reader.read_to_end()  # nor does anything come after it
    assert repeated(reader.found) == []
    if key == '"sensor"':
        its = [one.row and one.row["readings"] for one in reader.found if there in (one.key or "")]
        assert its == [1, 2, None, 14]


def test_windows_that_only_the_new_version_knows_to_be_final_leave_when_it_serves(
    site: Site,
) -> None:
    topic = site.topic(1)
    name, output = declared(site, topic, WINDOWS, emit="final")
    minutes = [Reading("s1", n, 1.0, START_MS + n * MINUTE) for n in range(12)]
    send(site, topic, minutes[:3], 1)
    serve(site, name)
    send(site, topic, minutes[3:6], 1)
    site.replay(name)
    between = view(site, name)
    send(site, topic, minutes[6:9], 1)
    declare_second(site, name)
    site.replay(name, version=2)
    promote(site.settings, {name: 2})
    send(site, topic, minutes[9:], 1)
    site.replay(name, version=2)
    found = all_sent(site, name, output)
    starts = [one.row["window_start"] for one in found if one.row]
    shown = sorted(row["window_start"] for row in view(site, name))
    assert between[-1]["window_start"] in starts
    assert sorted(starts) == shown[len(shown) - len(starts) :]
    assert len(starts) == len(set(starts))
    assert max(starts) - min(starts) == timedelta(minutes=len(starts) - 1)


def test_what_the_former_version_has_sent_does_not_leave_again(site: Site) -> None:
    """Version 2 was ahead when it noted the keys, and has read nothing since.

    v2  ──●────────────────────┤ serves, has nothing to send
    v1  ─────●──┤ all is sent
    """
    topic = site.topic(2)
    name, output = declared(site, topic, WINDOWS)
    send(site, topic, readings(20, seed=1))
    serve(site, name)
    declare_second(site, name)
    site.replay(name, version=2)
    send(site, topic, readings(20, seed=2))
    site.replay(name, version=2)
    assert site.query("SELECT 1 FROM kappa_dirty_key WHERE processor = :p AND version = 2", p=name)
    site.replay(name, version=1)
    of_first = "SELECT 1 FROM kappa_dirty_key WHERE processor = :p AND version = 1"
    with relaying(site.settings, name):
        wait_until("all is sent", lambda: site.query(of_first, p=name) == [])
    promote(site.settings, {name: 2})
    assert is_sent(site, name)
    found = all_sent(site, name, output)
    assert found
    assert repeated(found) == []


def test_a_correction_that_only_the_new_version_has_made_leaves_when_it_serves(site: Site) -> None:
    """Partition 1 was silent, so all was final; then it brought a record for minute 2."""
    topic = site.topic(2)
    name, output = declared(site, topic, WINDOWS, emit='final", idle_after="0s')
    here, there = "s1", "s2"  # in partitions of their own
    send(site, topic, [Reading(there, 1, 1.0, START_MS)])
    send(site, topic, [Reading(here, n, 1.0, START_MS + n * MINUTE) for n in range(6)])
    serve(site, name)
    declare_second(site, name)
    site.replay(name, version=2)
    send(site, topic, [Reading(here, 9, 1.0, START_MS + 8 * MINUTE)])
    for version in (1, 2):
        site.replay(name, version=version)
    all_sent(site, name, output)
    send(site, topic, [Reading(there, 7, 5.0, START_MS + 2 * MINUTE)])
    site.replay(name, version=2)
    promote(site.settings, {name: 2})
    found = all_sent(site, name, output)
    corrected = [one.row for one in found if one.row and one.row["highest"] == 7]
    assert [(row["sensor"], row["readings"]) for row in corrected] == [(there, 1)]
    assert repeated(found) == []
