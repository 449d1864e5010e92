"""Outputs of records in a topic: what each guarantee promises, with the relay killed at will."""

from __future__ import annotations

from collections import Counter

import pytest

from kappa.errors import DatabaseUnavailable, LockTimeout, OutputsBehind, RelayFenced
from kappa.operations.promote import Options, promote
from kappa.tables import outbox as outbox_table
from kappa.tables.engine import set_lock_timeout
from kappa.tables.outbox import active_version
from kappa.versions.swap import lock_processor
from tests.faults import Site, wait_until
from tests.integration.kafka_scenes import admin
from tests.integration.relay_scenes import STEPS, Found, Killed, reading, records_in, relaying
from tests.readings import START_MS, Reading, good

LINES = """
import polars as pl
from kappa import Projection, Source, ToTopic

processor = Projection(
    name="{name}",
    version=VERSION,
    source=Source("{topic}"),
    columns=[
        "sensor",
        pl.col("@partition").alias("part"),
        pl.col("@offset").alias("place"),
        pl.lit(VERSION).alias("by"),
    ],
    where=pl.col("code") != 13,
    publish={{"main": ToTopic("OUTPUT", guarantee="GUARANTEE", partitions=2)}},
)
"""

LATE = """
from kappa import Count, Source, ToTopic, Tumbling, WindowedAggregate

processor = WindowedAggregate(
    name="{name}",
    version=1,
    source=Source("{topic}", event_time="at"),
    key=["sensor"],
    window=Tumbling("1m"),
    aggregates={{"readings": Count()}},
    publish={{"late": ToTopic("late.{topic}")}},
)
"""

PARTITIONS = 3
BATCH = 10


def lines(output: str, guarantee: str = "exactly_once", version: int = 1) -> str:
    code = LINES.replace("OUTPUT", output).replace("GUARANTEE", guarantee)
    return code.replace("VERSION", str(version))


def publish(site: Site, topic: str, count: int) -> list[tuple[int, int]]:
    """Publishes readings; returns their places without the one in twenty that is filtered."""
    schema_id = site.schema_id(topic)
    sent = site.publish(
        topic,
        [
            good(schema_id, n % PARTITIONS, Reading(f"s{n % 7}", n % 20, 1.0, START_MS + n))
            for n in range(count)
        ],
    )
    return [(s.partition, s.offset) for s in sent if s.reading and s.reading.code != 13]


def promoted(site: Site, topic: str, guarantee: str) -> tuple[str, str]:
    """A processor that serves and whose output has begun, with nothing in it yet."""
    output = f"out.{topic}"
    name = site.processor(lines(output, guarantee), topic)
    publish(site, topic, 20)
    site.replay(name)
    promote(site.settings, {name: 1})
    return name, output


def places(found: list[Found]) -> list[tuple[int, int]]:
    return [(one.row["part"], one.row["place"]) for one in found if one.row is not None]


def in_order(found: list[Found]) -> bool:
    """Whether the rows of each source partition came in the order of their offsets."""
    by_source: dict[int, list[int]] = {}
    for part, place in places(sorted(found, key=lambda one: (one.partition, one.offset))):
        by_source.setdefault(part, []).append(place)
    return all(each == sorted(each) for each in by_source.values())


def test_exactly_once_wherever_the_relay_is_killed(site: Site) -> None:
    topic = site.topic(PARTITIONS)
    name, output = promoted(site, topic, "exactly_once")
    with relaying(site.settings, name), reading(site, output):
        pass  # the topic is there
    wanted = publish(site, topic, 900)
    site.replay(name)
    with reading(site, output) as reader:
        with Killed(site.settings, name, batch_rows=BATCH) as relay:
            for kill in range(21):
                relay.run_until_killed(f"{STEPS[kill % 3]}@{1 + kill // 3 % 4}")
                reader.read(0.1)
                so_far = places(reader.found)
                assert len(so_far) == len(set(so_far))
        assert 0 < len(so_far) < len(wanted)
        with relaying(site.settings, name):
            found = reader.wait_for(len(wanted))
            wait_until("the outbox is empty", lambda: is_empty(site, name))
            reader.read_to_end()
    assert sorted(places(found)) == sorted(wanted)
    assert in_order(found)
    assert all(one.key == one.row["sensor"] for one in found if one.row)
    assert records_in(site, output) == len(wanted) + 7 * BATCH, "those of seven open transactions"


def is_empty(site: Site, name: str) -> bool:
    return site.query("SELECT count(*) FROM kappa_outbox WHERE processor = :p", p=name) == [(0,)]


@pytest.mark.parametrize("step", STEPS)
def test_a_relay_that_slept_finds_its_output_taken_over(site: Site, step: str) -> None:
    topic = site.topic(PARTITIONS)
    name, output = promoted(site, topic, "exactly_once")
    wanted = publish(site, topic, 60)
    site.replay(name)
    with Killed(site.settings, name, batch_rows=BATCH) as relay:
        relay.run_until_stopped(step)
        with relaying(site.settings, name):
            wait_until("the outbox is empty", lambda: is_empty(site, name))
        assert relay.go_on() == RelayFenced.exit_code
    with reading(site, output) as reader:
        found = reader.read_to_end()
    assert sorted(places(found)) == sorted(wanted)


def test_a_relay_that_lost_its_session_goes_on(site: Site) -> None:
    topic = site.topic(PARTITIONS)
    name, output = promoted(site, topic, "exactly_once")
    first = publish(site, topic, 20)
    site.replay(name)
    with relaying(site.settings, name) as told, reading(site, output) as reader:
        reader.wait_for(len(first))
        site.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        )
        wait_until("the loss is told", lambda: any(one.failure for one in told))
        second = publish(site, topic, 20)
        site.replay(name)
        found = reader.wait_for(len(first + second))
    assert [type(one.failure) for one in told if one.failure] == [DatabaseUnavailable]
    assert sorted(places(found)) == sorted(first + second)


@pytest.mark.parametrize("guarantee", ["at_least_once", "at_most_once"])
def test_weaker_guarantees_repeat_or_lose_what_was_under_way(site: Site, guarantee: str) -> None:
    topic = site.topic(PARTITIONS)
    name, output = promoted(site, topic, guarantee)
    wanted = publish(site, topic, 300)
    site.replay(name)
    with Killed(site.settings, name, batch_rows=BATCH) as relay:
        for step in STEPS:
            relay.run_until_killed(f"{step}@2")
    with relaying(site.settings, name), reading(site, output) as reader:
        wait_until("the outbox is empty", lambda: is_empty(site, name))
    with reading(site, output) as reader:
        found = Counter(places(reader.read_to_end()))
    lost, repeated = set(wanted) - set(found), sum(found.values()) - len(found)
    assert not set(found) - set(wanted)
    if guarantee == "at_least_once":  # published or sent, but not dropped from the outbox
        assert (len(lost), repeated) == (0, 2 * BATCH)
    else:  # dropped from the outbox, but not published
        assert (len(lost), repeated) == (BATCH, 0)


def test_a_batch_weighs_no_more_than_it_should_but_for_its_last_row(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _ = promoted(site, topic := site.topic(PARTITIONS), "exactly_once")
    publish(site, topic, 60)
    site.replay(name)

    def read(most_bytes: int) -> list[outbox_table.Waiting]:
        monkeypatch.setattr(outbox_table, "BATCH_BYTES", most_bytes)
        with site.engine.connect() as connection:
            return list(outbox_table.waiting(connection, name, 1, "main", 40))

    rows = read(1_000_000)
    assert len(rows) == 40
    size = sum(len(row.key or b"") + len(row.value or b"") for row in rows[:7])
    assert read(size) == rows[:7]
    assert read(size + 1) == rows[:8]
    assert read(1) == rows[:1]


def test_a_promoted_version_goes_on_exactly_where_the_former_stopped(site: Site) -> None:
    topic = site.topic(PARTITIONS)
    name, output = promoted(site, topic, "exactly_once")
    first = publish(site, topic, 30)
    site.replay(name)
    second = publish(site, topic, 30)
    declare_second(site, name, output, topic)
    site.replay(name, version=2)
    assert sorted(outbox(site, name)) == sorted(
        [(*p, 1) for p in first] + [(*p, 2) for p in second]
    )
    promote(site.settings, {name: 2})
    third = publish(site, topic, 30)
    site.replay(name, version=1)
    site.replay(name, version=2)
    with relaying(site.settings, name), reading(site, output) as reader:
        found = reader.wait_for(len(first + second + third))
    by = {(one.row["part"], one.row["place"]): one.row["by"] for one in found if one.row}
    assert by == dict.fromkeys(first, 1) | dict.fromkeys(second + third, 2)
    assert len(found) == len(by)
    assert in_order(found)


def test_a_version_that_was_ahead_when_outputs_began_takes_over_without_a_gap(site: Site) -> None:
    """What lies between the two at the first promote was kept by nobody but version 1.

    v1  ──30──┤ promoted: outputs begin ──60──
    v2  ────────────60──┤
    """
    topic = site.topic(PARTITIONS)
    output = f"out.{topic}"
    name = site.processor(lines(output), topic)
    declare_second(site, name, output, topic)
    publish(site, topic, 30)
    site.replay(name)
    between = publish(site, topic, 30)
    site.replay(name, version=2)
    promote(site.settings, {name: 1})
    with pytest.raises(OutputsBehind) as caught:
        promote(site.settings, {name: 2})
    assert caught.value.detail["offset"] < caught.value.detail["needed"]
    site.replay(name)
    promote(site.settings, {name: 2})
    after = publish(site, topic, 30)
    site.replay(name, version=2)
    with relaying(site.settings, name), reading(site, output) as reader:
        found = reader.wait_for(len(between + after))
    by = {(one.row["part"], one.row["place"]): one.row["by"] for one in found if one.row}
    assert by == dict.fromkeys(between, 1) | dict.fromkeys(after, 2)
    assert len(found) == len(by)


def test_a_relay_waits_for_a_promote_under_way_before_it_asks_who_serves(site: Site) -> None:
    """Else it would read rows of a version that are given to another before it drops them."""
    name, _ = promoted(site, site.topic(PARTITIONS), "at_most_once")
    with site.engine.begin() as promoting, site.engine.connect() as relay:
        lock_processor(promoting, name)
        set_lock_timeout(relay, 100)
        with pytest.raises(LockTimeout):
            active_version(relay, name)
        relay.rollback()
    with site.engine.connect() as relay:
        assert active_version(relay, name) == 1


def test_rows_of_a_source_that_is_dropped_leave_and_those_of_the_new_one_begin(site: Site) -> None:
    """Version 1 reads one topic, version 2 another, and either counts its offsets from zero."""
    topic, other = site.topic(PARTITIONS), site.topic(PARTITIONS)
    name, output = promoted(site, topic, "exactly_once")
    before = publish(site, other, 90)
    declare_second(site, name, output, other)
    first = publish(site, topic, 30)
    site.replay(name)
    site.replay(name, version=2)
    assert sorted(outbox(site, name)) == sorted((*place, 1) for place in first)
    dropped = Options(dropped_sources=frozenset({topic}))
    promote(site.settings, {name: 2}, options=dropped)
    second = publish(site, other, 30)
    site.replay(name, version=2)
    with relaying(site.settings, name), reading(site, output) as reader:
        wait_until("the outbox is empty", lambda: is_empty(site, name))
        found = reader.read_to_end()
    by = [(one.row["by"], one.row["part"], one.row["place"]) for one in found if one.row]
    assert sorted(by) == sorted([*((1, *p) for p in first), *((2, *p) for p in second)])
    assert before[-1] not in second


def test_of_a_topic_made_anew_all_leaves_before_another_version_takes_over(site: Site) -> None:
    """The same places are other records in it: the rows that wait would be taken for theirs.

    topic        ── 1 1 1 1 ──┤ deleted
    created again             ├── 2 2 2 ──────────┤ promote ├── 2 2 2 ──
    outbox            1 1 1 1 ┄┄ have to leave ┄┄ ┤ empty              2 2 2
    """
    topic = site.topic(PARTITIONS)
    name, output = promoted(site, topic, "exactly_once")
    first = publish(site, topic, 60)
    site.replay(name)
    client = admin(site.kafka)
    for future in client.delete_topics([topic]).values():
        future.result(30)
    wait_until("it is gone", lambda: topic not in client.list_topics(timeout=10).topics)
    site.create(topic, PARTITIONS)
    publish(site, topic, 120)  # further than the former one went
    declare_second(site, name, output, topic)
    site.replay(name, version=2)
    assert {version for *_, version in outbox(site, name)} == {1}
    dropped = Options(dropped_sources=frozenset({topic}))
    with pytest.raises(OutputsBehind, match="rows to send of the former topic"):
        promote(site.settings, {name: 2}, options=dropped)
    set_aside(site, name, first[-1])
    with relaying(site.settings, name):
        wait_until("all that can has left", lambda: len(outbox(site, name)) == 1)
    promote(site.settings, {name: 2}, options=dropped)
    assert outbox(site, name) == [(*first[-1], 1)]
    second = publish(site, topic, 60)
    site.replay(name, version=2)
    with relaying(site.settings, name), reading(site, output) as reader:
        found = reader.wait_for(len(first) - 1 + len(second))
        wait_until("the outbox is empty", lambda: len(outbox(site, name)) == 1)
    by = [(one.row["by"], one.row["part"], one.row["place"]) for one in found if one.row]
    assert sorted(by) == sorted([*((1, *p) for p in first[:-1]), *((2, *p) for p in second)])


def set_aside(site: Site, name: str, place: tuple[int, int]) -> None:
    with site.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE kappa_outbox SET failed_at = now(), error = 'refused' WHERE processor = %s"
            ' AND partition = %s AND "offset" = %s',
            (name, *place),
        )


def outbox(site: Site, name: str) -> list[tuple[int, int, int]]:
    rows = site.query(
        'SELECT partition, "offset", version FROM kappa_outbox WHERE processor = :p', p=name
    )
    return [tuple(row) for row in rows]


def declare_second(site: Site, name: str, output: str, topic: str) -> None:
    module = f"{name}_second"
    code = lines(output, version=2).format(name=name, topic=topic)
    (site.plugins / f"{module}.py").write_text(code)
    info = site.plugins / f"{name}_plugin-1.0.dist-info" / "entry_points.txt"
    info.write_text(f"{info.read_text()}{name}.v2 = {module}:processor\n")


def test_late_records_leave_with_their_place(site: Site) -> None:
    topic = site.topic(1)
    name = site.processor(LATE, topic)
    schema_id = site.schema_id(topic)
    times = [0, 200, 10, 400, 20]
    for _ in range(2):  # what was late before the output began does not leave
        site.publish(
            topic,
            [good(schema_id, 0, Reading("s", 1, 1.0, START_MS + at * 1_000)) for at in times],
        )
        site.replay(name)
        promote(site.settings, {name: 1})
    with relaying(site.settings, name, "late"), reading(site, f"late.{topic}") as reader:
        found = reader.wait_for(4)
    assert [(one.key, one.row["_offset"]) for one in found if one.row] == [
        ("s", offset) for offset in (5, 6, 7, 9)
    ]
    assert {one.row["_verdict"] for one in found if one.row} == {"window_closed"}


def test_a_version_that_nobody_has_promoted_leaves_nothing_behind(site: Site) -> None:
    topic = site.topic(PARTITIONS)
    name = site.processor(lines(f"out.{topic}"), topic)
    publish(site, topic, 20)
    site.replay(name)
    publish(site, topic, 20)
    site.replay(name)
    assert is_empty(site, name)
