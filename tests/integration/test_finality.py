"""When rows become visible: at once, or once every partition that has records has passed them.

minute              0     1     2     3     4     5
partition 0         a     b     c     d     e
partition 1         a     b
partition 2         (a record without an event time: it holds nothing back)
partition 3         (empty: nor does it)
final through             1
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Event

import pytest
import sqlalchemy as sa

from kappa.errors import Fenced
from kappa.operations.promote import promote, rollback
from kappa.operations.status import VersionStatus, status
from kappa.plugins import find, load
from kappa.runtime.assembly import assemble, registry_of
from kappa.runtime.worker.checkpoint import LogEnds, pass_silence
from kappa.runtime.worker.claiming import claim
from kappa.runtime.worker.job import Rhythm
from kappa.runtime.worker.terms import Terms
from kappa.runtime.worker.worker import taken_over
from kappa.tables import progress
from kappa.versions import records
from tests.faults import Interrupted, Site, beside, wait_until
from tests.readings import START_MS, Reading, Unsent, good

MINUTE_MS = 60_000
DAY_MS = 86_400_000

CODE = """
from kappa import Count, Source, Tumbling, WindowedAggregate

processor = WindowedAggregate(
    name="{{name}}",
    version=1,
    source=Source("{{topic}}", event_time="at", out_of_orderness="10s"),
    key=["sensor"],
    window=Tumbling("1m"),
    allowed_lateness="20s",
    aggregates={{{{"readings": Count()}}}},
    {}
)
"""
UPDATES = CODE.format("")
FINAL = CODE.format('emit="final",')
LONGER = FINAL.replace("processor =", "longer =").replace("version=1", "version=2")
LONGER = FINAL + LONGER.replace('"20s"', '"80s"')
"""Two versions: the second waits a minute longer for late readings."""
ENDLESS = FINAL.replace('"20s"', '"1000000d"').replace("Tumbling,", "Session, Tumbling,")
IMPATIENT = CODE.format('emit="final", idle_after="0s",')
SOON = CODE.format('emit="final", idle_after="3s",')

ZERO_MS = START_MS - START_MS % MINUTE_MS


def at(minute: float, sensor: str = "s1") -> Reading:
    """A reading in the given minute; the half minute past it where the watermark needs it."""
    return Reading(sensor, 1, 1.0, int(ZERO_MS + minute * MINUTE_MS))


def publish(site: Site, topic: str, *readings: tuple[int, Reading]) -> None:
    schema_id = site.schema_id(topic)
    site.publish(topic, [good(schema_id, partition, reading) for partition, reading in readings])


@pytest.fixture
def topic(site: Site) -> str:
    """Partition 0 has come to minute 4.5, partition 1 to minute 1.5."""
    topic = site.topic(4)
    publish(site, topic, *((0, at(minute)) for minute in (0, 1, 2, 3, 4.5)))
    publish(site, topic, (1, at(0)), (1, at(1.5)), (2, Reading("s1", 1, 1.0, 10**16)))
    return topic


def minutes(site: Site, name: str) -> dict[int, int]:
    """What readers see: readings by minute."""
    rows = site.query(f"SELECT window_start, readings FROM {name}")
    return {round((row[0].timestamp() * 1000 - ZERO_MS) / MINUTE_MS): row[1] for row in rows}


def seen(site: Site, name: str) -> list[tuple[str, int]]:
    return [tuple(row) for row in site.query(f"SELECT sensor, readings FROM {name} ORDER BY 1")]


def stood(site: Site, name: str, version: int = 1) -> VersionStatus:
    found = {(one.processor, one.version): one for one in status(site.settings)}
    return found[name, version]


def moment(minute: float) -> datetime:
    return datetime.fromtimestamp((ZERO_MS + minute * MINUTE_MS) / 1000, UTC)


def test_updates_are_seen_from_the_first_record_on(site: Site, topic: str) -> None:
    name = site.processor(UPDATES, topic)
    site.replay(name)
    promote(site.settings, {name: None})
    assert minutes(site, name) == {0: 2, 1: 2, 2: 1, 3: 1, 4: 1}
    # 1.5 minutes less 10 s of disorder and 20 s of lateness
    assert stood(site, name).final_through == moment(1)


@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_final_rows_are_seen_when_the_slowest_partition_has_passed_them(
    site: Site, topic: str, batch_size: int
) -> None:
    name = site.processor(FINAL, topic)
    site.replay(name, batch_size)
    promote(site.settings, {name: None})
    assert minutes(site, name) == {0: 2}
    publish(site, topic, (1, at(2.49)))
    site.replay(name, batch_size)
    assert minutes(site, name) == {0: 2}, "minute 1 ends at 2, and 2.49 less half is before that"
    publish(site, topic, (1, at(3.5)))
    site.replay(name, batch_size)
    assert minutes(site, name) == {0: 2, 1: 2, 2: 2}
    assert stood(site, name).corrections == 0


def test_the_moment_never_falls_and_content_does_not_depend_on_it(site: Site, topic: str) -> None:
    shown, hidden = site.processor(UPDATES, topic), site.processor(FINAL, topic)
    for name in (shown, hidden):
        site.replay(name)
        promote(site.settings, {name: None})
    before = stood(site, hidden).final_through
    publish(site, topic, (2, at(0.2)), (2, at(0.3, "s2")), (2, at(1.1)))  # its first, and behind
    for name in (shown, hidden):
        site.replay(name)
    assert stood(site, hidden).final_through == before == moment(1)
    assert stood(site, hidden).corrections == 2, "minute 1 is not final"
    assert stood(site, shown).corrections == 0
    assert seen(site, hidden) == [("s1", 3), ("s2", 1)]
    rows = [
        site.query(f"SELECT window_start, sensor, readings FROM {name}__v1 ORDER BY 1, 2")
        for name in (shown, hidden)
    ]
    assert rows[0] == rows[1]
    assert sum(row[2] for row in rows[0]) == 10


def test_a_silent_partition_can_be_left_out_and_then_corrects_what_was_final(
    site: Site, topic: str
) -> None:
    patient, name = site.processor(FINAL, topic), site.processor(IMPATIENT, topic)
    for one in (patient, name):
        site.replay(one)
        promote(site.settings, {one: None})
        assert minutes(site, one) == {0: 2}, "a build waits for every partition"
    publish(site, topic, (0, at(5.5)))
    for one in (patient, name):
        site.replay(one)
    assert minutes(site, patient) == {0: 2}
    assert minutes(site, name) == {0: 2, 1: 2, 2: 1, 3: 1, 4: 1}
    assert stood(site, name).corrections == 0
    publish(site, topic, (1, at(2.1)), (1, at(2.2)), (1, at(6.5)))
    for one in (patient, name):
        site.replay(one)
    assert stood(site, name).corrections == 2
    assert stood(site, name).final_through == moment(6), "now partition 0 is the silent one"
    assert minutes(site, name)[2] == 3
    marked = site.query(f"SELECT window_start, _corrections FROM {name}__v1 WHERE _corrections > 0")
    assert marked == [(moment(2), 2)]
    content = "SELECT window_start, sensor, readings FROM {}__v1 ORDER BY 1"
    assert site.query(content.format(name)) == site.query(content.format(patient))


def test_a_version_that_waits_longer_takes_over_what_is_seen_as_final(
    site: Site, topic: str
) -> None:
    """Minute 0 is final in version 1, and in version 2 not yet.

    partition 1, minute        0    0.9    1.5          3.5
    version 1 final through              1          3
    version 2 final through   0    (1: carried on)  2 (3: carried on)
                              a late reading of 0.9 is a correction
    """
    name = site.processor(LONGER, topic, ("processor", "longer"))

    def both() -> None:
        for version in (1, 2):
            site.replay(name, version=version)

    both()
    promote(site.settings, {name: 1})
    assert (stood(site, name).final_through, stood(site, name, 2).final_through) == (
        moment(1),
        moment(0),
    )
    promote(site.settings, {name: 2})
    assert minutes(site, name) == {0: 2}
    publish(site, topic, (1, at(0.9)))
    both()
    assert minutes(site, name) == {0: 3}
    assert (stood(site, name).corrections, stood(site, name, 2).corrections) == (0, 1)
    publish(site, topic, (1, at(3.5)))
    both()
    assert minutes(site, name) == {0: 3, 1: 2}
    rollback(site.settings, (name,))
    assert minutes(site, name) == {0: 2, 1: 2, 2: 1}
    promote(site.settings, {name: 2})
    assert minutes(site, name) == {0: 3, 1: 2, 2: 1}, "readers have seen minute 2"


@pytest.mark.parametrize("window", ['Tumbling("1m")', 'Session("30s")'])
def test_lateness_may_be_longer_than_there_has_been_time(site: Site, window: str) -> None:
    """Nothing is ever late, nor final; and what is open is found again at each start."""
    topic = site.topic(1)
    name = site.processor(ENDLESS.replace('Tumbling("1m")', window), topic)
    for minute in (5, 1, 5.4):
        publish(site, topic, (0, at(minute)))
        site.replay(name)
    promote(site.settings, {name: None})
    assert minutes(site, name) == {}
    assert stood(site, name).final_through == datetime(1, 1, 1, tzinfo=UTC)
    rows = site.query(f"SELECT readings FROM {name}__v1 ORDER BY window_start")
    assert [row[0] for row in rows] == [1, 2]


@contextmanager
def followed(site: Site, name: str) -> Iterator[None]:
    """``kappa run`` beside the test."""
    command = [sys.executable, "-m", "kappa", "run", name]
    env = {**os.environ, **site.environment}
    process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_rows_become_final_when_a_followed_partition_falls_silent(site: Site, topic: str) -> None:
    """Partition 1 is silent two seconds longer than partition 0, and neither brings more.

    seconds       0     1     2     3     4     5
    partition 1   x                 silent
    partition 0   x x x x x x x                 silent
    """
    name = site.processor(SOON, topic)
    site.replay(name)
    promote(site.settings, {name: None})
    silent_s = (
        "SELECT extract(epoch FROM now() - updated_at) FROM kappa_offset"
        f" WHERE processor = '{name}' AND partition = 1"
    )
    with followed(site, name):
        publish(site, topic, (1, at(2.0)))
        wait_until("partition 1", lambda: site.positions(name)[1] == 3)
        while site.query(silent_s)[0][0] < 2:
            publish(site, topic, (0, at(5.5)))
        assert minutes(site, name) == {0: 2}
        wait_until("the rest", lambda: minutes(site, name) == {0: 2, 1: 2, 2: 2, 3: 1, 4: 1})


def test_a_worker_that_was_replaced_makes_nothing_final(site: Site, topic: str) -> None:
    name = site.processor(IMPATIENT, topic)
    site.replay(name)
    promote(site.settings, {name: None})
    with site.engine.connect() as connection:
        layout = records.require(connection, name, 1).layout
        rows = progress.read(connection, name, 1)
    reached = {row.partition: row.next_offset for row in rows}
    epochs = {row.partition: row.epoch for row in rows}
    spans = [(topic, number, end) for number, end in reached.items()]
    ends = LogEnds(spans, [(topic, 1)])
    claimed = claim(site.engine, name, 1, [(topic, 1)], "another")[topic, 1]
    with pytest.raises(Fenced) as caught:
        pass_silence(site.engine, layout, topic, reached, epochs, ends)
    assert caught.value.detail["owner_now"] == "another"
    assert minutes(site, name) == {0: 2}
    pass_silence(site.engine, layout, topic, reached, {**epochs, 1: claimed.epoch}, ends)
    assert len(minutes(site, name)) > 1


def test_nothing_becomes_final_while_nobody_knows_where_the_log_ends(
    site: Site, topic: str
) -> None:
    """Records are applied and committed meanwhile; what they have made final comes afterwards."""
    name = site.processor(FINAL, topic)
    site.replay(name)
    promote(site.settings, {name: None})
    publish(site, topic, (0, at(5.5)), (1, at(5.5)))
    ends = site.ends(topic)
    known = Event()
    places: dict[tuple[str, int], int | None] = dict.fromkeys([(topic, n) for n in ends], None)
    with site.engine.connect() as connection:
        record = records.require(connection, name, 1)
    registry = registry_of(site.settings)
    assembly = assemble(load(find(name, 1)), registry, record.reader_schema_id)
    terms = Terms(
        kafka=site.kafka,
        layout=record.layout,
        remerge=assembly.bound.remerge,
        building=False,
        limit=assembly.bound.declaration.max_dead_letters,
        rhythm=Rhythm(1000, 0.05),
        ends=lambda: (
            LogEnds([(topic, n, end) for n, end in ends.items()]) if known.is_set() else None
        ),
        patience_s=30,
    )

    def work(over: Event) -> None:
        with taken_over(
            site.settings, assembly, registry, terms, places, "test", lambda report: None
        ) as tenure:
            tenure.run(over.is_set)

    with beside(work):
        wait_until("all is committed", lambda: site.positions(name) == ends)
        assert minutes(site, name) == {0: 2}
        known.set()
        wait_until("the rest is final", lambda: stood(site, name).final_through == moment(5))


def test_dead_letters_alone_hold_nothing_back(site: Site) -> None:
    topic = site.topic(2)
    publish(site, topic, (0, at(0)), (0, at(3.5)))
    site.publish(topic, [Unsent(1, b"s1", b"none of ours")])
    name = site.processor(FINAL, topic)
    site.replay(name)
    assert stood(site, name).final_through == moment(3)


def test_a_partition_that_was_empty_holds_others_back_while_it_is_read(site: Site) -> None:
    """Two workers: the second has far to go when the first has passed minute 10."""
    topic = site.topic(2)
    publish(site, topic, (0, at(0)), (0, at(0.5)))
    name = site.processor(FINAL, topic)
    site.replay(name)
    publish(site, topic, (0, at(10)))
    publish(site, topic, *[(1, at(number / 2_000)) for number in range(4_000)])
    site.replay(name, 500, workers=2)
    assert stood(site, name).final_through == moment(4_000 / 2_000 - 0.5) - timedelta(
        milliseconds=30
    )


def test_a_build_taken_up_again_takes_no_partition_for_silent(site: Site, topic: str) -> None:
    name = site.processor(IMPATIENT, topic)
    with pytest.raises(Interrupted):
        site.replay(name, 1, stop_after=7)
    publish(site, topic, (1, at(2.1)))
    site.replay(name, 1)
    assert stood(site, name).final_through == moment(1)


def test_a_version_made_before_there_were_verdicts_goes_on_as_it_was_made(site: Site) -> None:
    topic = site.topic(1)
    publish(site, topic, (0, at(0)), (0, at(5)))
    name = site.processor(UPDATES, topic)
    site.replay(name)
    with site.engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {name}__v1__late DROP COLUMN _verdict")
        (document,) = connection.execute(
            sa.text("SELECT declaration FROM kappa_version WHERE processor = :n"), {"n": name}
        ).one()
        layout = document["layout"]
        layout["late"] = [c for c in layout["late"] if c["name"] != "_verdict"]
        for added in ("finality", "sides", "state"):
            layout.pop(added, None)
        connection.execute(
            sa.text(
                "UPDATE kappa_version SET declaration = CAST(:d AS jsonb) WHERE processor = :n"
            ),
            {"d": json.dumps(document), "n": name},
        )
    publish(site, topic, (0, at(1)))
    assert site.replay(name).late == 1
