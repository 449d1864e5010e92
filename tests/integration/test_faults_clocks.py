"""Wrong clocks and floods of late records: the same tables however a replay is cut.

Record timestamps come from producers here (CreateTime), so they can be as wrong as event times.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from kappa.avro import schema as avro
from kappa.processing.windowed.sessionfold import SessionFold
from kappa.registry.topic import value_subject
from tests.faults import Site
from tests.integration.kafka_scenes import make_topic
from tests.readings import (
    DAY_MS,
    SCHEMA,
    START_MS,
    TOTALS,
    Reading,
    Sent,
    encoded,
    expected_totals,
)

PARTITIONS = 3
COUNT = 600

SESSIONS = """
from kappa import Count, First, Session, Source, Sum, WindowedAggregate

processor = WindowedAggregate(
    name="{name}",
    version=1,
    source=Source("{topic}", event_time="at", out_of_orderness="20s"),
    key=["sensor"],
    window=Session("30s"),
    allowed_lateness="10s",
    aggregates={{"readings": Count(), "total": Sum("value"), "first": First("code")}},
)
"""

TIMERS = """
import polars as pl
from kappa import KeyedProcessor, Source, ValueState

class Watch(KeyedProcessor):
    name, version = "{name}", 1
    source = Source("{topic}", event_time="at", out_of_orderness="20s")
    key = "sensor"
    columns = ["value"]
    output = {{"sensor": pl.String(), "kind": pl.String(), "due": pl.Int64(), "seen": pl.Int64()}}
    seen = ValueState(int, ttl="5m")

    def on_event(self, event, ctx):
        self.seen.set((self.seen.get() or 0) + 1)
        ctx.set_event_timer(ctx.event_time + 45_000, "event")
        ctx.set_processing_timer(ctx.processing_time + 45_000, "clock")

    def on_timer(self, at, ctx):
        ctx.emit(sensor=ctx.key, kind=ctx.timer, due=at, seen=self.seen.get())

processor = Watch
"""

KINDS = {"totals": TOTALS, "sessions": SESSIONS, "timers": TIMERS}
CUTS = ((1_000_000, 1), (7, 1), (50, 2))


def skewed(dice: random.Random) -> list[tuple[int, Reading, int]]:
    """Clocks that are up to 400 days wrong either way and step back: event and record times.

    true time      0 ----- 1 ----- 2 ----- 3 ----- 4 ----- 5
    a clock says   0 ----- 1 -- +400 d ------- -400 d - 0 --
    """
    made = []
    skew = dict.fromkeys(range(PARTITIONS), 0)
    for number in range(COUNT):
        partition = number % PARTITIONS
        if dice.random() < 0.03:
            skew[partition] = dice.choice([0, 0, 400 * DAY_MS, -400 * DAY_MS, -3_600_000])
        true = START_MS + number * 1_000
        event_skew = skew[partition] if dice.random() < 0.5 else 0
        at = true + event_skew - dice.choice([0, 0, 9_000])
        sensor = f"s{partition}{dice.randrange(4)}"
        reading = Reading(sensor, dice.randrange(-100, 100), dice.uniform(-9, 9), at)
        made.append((partition, reading, true + skew[partition]))
    return made


def flooded(dice: random.Random) -> list[tuple[int, Reading, int]]:
    """Half of all event times anywhere from 30 days ago to 10 years ahead, over all partitions."""
    made = []
    for number in range(COUNT):
        partition = dice.randrange(PARTITIONS)
        now = START_MS + number * 1_000
        at = now
        if dice.random() < 0.5:
            at += dice.randrange(-30 * DAY_MS, 10 * 365 * DAY_MS)
            if dice.random() < 0.6:
                at = now - dice.randrange(30 * DAY_MS)
        sensor = f"s{partition}{dice.randrange(4)}"
        reading = Reading(sensor, dice.randrange(-100, 100), dice.uniform(-9, 9), at)
        made.append((partition, reading, now))
    return made


STREAMS: dict[str, Callable[[random.Random], list[tuple[int, Reading, int]]]] = {
    "clock skew": skewed,
    "late floods": flooded,
}


@pytest.fixture(scope="module", params=STREAMS)
def stream(request: pytest.FixtureRequest, site: Site) -> tuple[str, list[Sent]]:
    """A topic with one of the streams, and what lies where in it."""
    topic = f"clocks{random.getrandbits(48):x}"
    make_topic(site.kafka, topic, PARTITIONS, message_timestamp_type="CreateTime")
    site.registry.register(value_subject(topic), avro.parse(SCHEMA))
    schema_id = site.schema_id(topic)
    sent, next_offset = [], [0] * PARTITIONS
    for partition, reading, timestamp in STREAMS[request.param](random.Random(9)):
        key, value = reading.sensor.encode(), encoded(schema_id, reading)
        site.producer.produce(topic, value, key, partition, timestamp=timestamp)
        sent.append(Sent(partition, next_offset[partition], timestamp, key, value, reading))
        next_offset[partition] += 1
    assert site.producer.flush(30) == 0
    return topic, sent


@pytest.mark.parametrize("kind", KINDS)
def test_no_cut_changes_the_tables(site: Site, stream: tuple[str, list[Sent]], kind: str) -> None:
    topic, sent = stream
    found = []
    for batch_size, workers in CUTS:
        name = site.processor(KINDS[kind], topic)
        replayed = site.replay(name, batch_size, workers=workers)
        assert replayed.records == len(sent)
        tables = [f"{name}__v1", f"{name}__v1__{'state' if kind == 'timers' else 'late'}"]
        rows = [site.query(f"SELECT * FROM {table} t ORDER BY t::text") for table in tables]
        found.append((rows, site.partitions(name), sorted(site.letters(name))))
        assert all(rows), "an empty table"
    assert found[0] == found[1] == found[2]


def test_the_totals_are_the_reference_fold(site: Site, stream: tuple[str, list[Sent]]) -> None:
    topic, sent = stream
    name = site.processor(TOTALS, topic)
    site.replay(name, 64)
    rows, expected = expected_totals(sent)
    assert site.totals(name) == rows
    assert site.late(name) == expected.late
    assert set(site.letters(name)) == expected.dead
    assert expected.late
    assert expected.dead


def test_state_stays_bounded(
    site: Site, stream: tuple[str, list[Sent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that no record can reach any more is forgotten, however the flood goes on."""
    topic, sent = stream
    held: list[int] = []
    flush = SessionFold.flush

    def watched(fold: SessionFold) -> object:
        changes = flush(fold)
        held.append(fold.open_sessions)
        return changes

    monkeypatch.setattr(SessionFold, "flush", watched)
    name = site.processor(SESSIONS, topic)
    site.replay(name, 20)
    assert len(held) > 10
    assert max(held) <= _most_open(sent)
    (sessions,) = site.query(f"SELECT count(*) FROM {name}__v1")
    assert sessions[0] > 2 * max(held)


def test_states_and_timers_are_gone_when_they_are_due(
    site: Site, stream: tuple[str, list[Sent]]
) -> None:
    topic, sent = stream
    name = site.processor(TIMERS, topic)
    site.replay(name, 20)
    rows = site.query(
        f"SELECT partition, key, event_timer, processing_timer FROM {name}__v1__state ORDER BY 1, 2"
    )
    assert [tuple(row) for row in rows] == _remembered(sent)
    assert rows


def _most_open(sent: Sequence[Sent]) -> int:
    """Per key: a session for each gap between the watermark less lateness and a day ahead of it.

    What is further ahead is a dead letter; but a watermark that ran ahead closes all behind it,
    so that few are ever open at once: the current one, and one per record ahead of time.
    """
    return 4 * len({one.key for one in sent})


def _remembered(sent: Sequence[Sent]) -> list[tuple[int, str, int | None, int | None]]:
    """What TIMERS should still know at the end: keys, and when something of them is due."""
    left = []
    for partition in range(PARTITIONS):
        due: dict[str, dict[str, int]] = {}
        now = newest = 0
        for one in sent:
            if one.partition != partition:
                continue
            assert one.reading is not None
            assert one.key is not None
            now, at = max(now, one.timestamp), one.reading.at
            if at > one.timestamp + DAY_MS:
                continue
            newest = max(newest, at)
            for timers in due.values():
                _drop(timers, ["clock"], now)
            mine = due.setdefault(one.key.decode(), {})
            life = max(at + 300_000, mine.get("seen", 0))
            mine |= {"seen": life, "event": at + 45_000, "clock": now + 45_000}
            for timers in due.values():
                _drop(timers, ["seen", "event"], newest - 20_000)
        for key, timers in sorted(due.items()):
            of_events = [at for name, at in timers.items() if name != "clock"]
            if timers:
                left.append((partition, key, min(of_events, default=None), timers.get("clock")))
    return left


def _drop(timers: dict[str, int], names: Sequence[str], through: int) -> None:
    for name in names:
        if timers.get(name, through + 1) <= through:
            del timers[name]
