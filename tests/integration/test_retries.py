"""Copies in the log: a version takes one in the place of its own dead letter, and no other."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from kappa.avro import schema as avro
from kappa.log.copies import HEADER, header_value
from kappa.log.history import topic_history
from kappa.registry.topic import value_subject
from tests.faults import Interrupted, Site
from tests.integration.kafka_scenes import make_topic
from tests.readings import DAY_MS, LINES, SCHEMA, START_MS, TOTALS, Reading, encoded

QUIET = 13
"""The code that LINES leaves out."""

RIGHT = START_MS + 1_000
"""A record timestamp that lets a reading of about START_MS through."""

TOO_EARLY = START_MS - 2 * DAY_MS
"""One that its event time is too far ahead of: a dead letter."""


@dataclass(frozen=True)
class Written:
    """A record of the test's log; ``names`` is what its header says, an offset if it is sound."""

    partition: int
    reading: Reading
    timestamp: int
    names: int | bytes | None = None

    @property
    def fails(self) -> bool:
        return self.reading.code != QUIET and self.reading.at > self.timestamp + DAY_MS


@dataclass(frozen=True)
class Outcome:
    """What a version should have made of a log, each by partition and offset."""

    rows: dict[tuple[int, int], Reading]
    letters: dict[tuple[int, int], tuple[int | None, int | None]]
    """Which record it is a copy of, and which copy was applied in its place."""
    filtered: int


def judged(log: Sequence[Written]) -> Outcome:
    """One record after the other, as simply as it can be said."""
    rows: dict[tuple[int, int], Reading] = {}
    originals: dict[tuple[int, int], int] = {}
    applied: dict[tuple[int, int], int] = {}
    ends: Counter[int] = Counter()
    filtered = 0
    for record in log:
        partition, offset = record.partition, ends[record.partition]
        ends[partition] += 1
        original = offset
        if record.names is not None:
            named = record.names if isinstance(record.names, int) else -1
            original = originals.get((partition, named), -1)
            if original < 0 or (partition, original) in applied:
                filtered += 1
                continue
        if record.fails:
            originals[partition, offset] = original
            continue
        if record.names is not None:
            applied[partition, original] = offset
        if record.reading.code == QUIET:
            filtered += 1
        else:
            rows[partition, offset] = record.reading
    letters = {
        (partition, offset): (
            original if original != offset else None,
            applied.get((partition, original)),
        )
        for (partition, offset), original in originals.items()
    }
    return Outcome(rows, letters, filtered)


def drawn(count: int, seed: int) -> list[Written]:
    """Records, many of them dead letters, and copies of whatever came before, good or not."""
    dice = random.Random(seed)
    log: list[Written] = []
    there: dict[int, list[Written]] = {0: [], 1: []}
    for number in range(count):
        before = there[dice.randrange(2)]
        code = QUIET if dice.random() < 0.1 else number % 100
        reading = Reading(f"s{number % 5}", code, number / 4, START_MS + number)
        names: int | bytes | None = None
        if before and dice.random() < 0.7:
            names = max(len(before) + 1 - dice.randrange(12), 0)
            if dice.random() < 0.1:
                names = dice.choice([b"", b"another/0/0", b"no place", b"\xff"])
            elif names < len(before):
                reading = before[names].reading
        partition = 0 if before is there[0] else 1
        written = Written(partition, reading, dice.choice([RIGHT, TOO_EARLY]), names)
        before.append(written)
        log.append(written)
    return log


def published(site: Site, log: Sequence[Written]) -> str:
    """The log in a topic whose timestamps are the producer's."""
    topic = f"readings{uuid.uuid4().hex[:8]}"
    make_topic(site.kafka, topic, 2, message_timestamp_type="CreateTime")
    site.registry.register(value_subject(topic), avro.parse(SCHEMA))
    append(site, topic, *log)
    return topic


def append(site: Site, topic: str, *log: Written) -> None:
    schema_id = site.schema_id(topic)
    topic_id = topic_history(site.kafka, topic).topic_id
    for one in log:
        headers: list[tuple[str, str | bytes | None]] = []
        if one.names is not None:
            names = one.names
            if isinstance(names, int):
                names = header_value(topic_id, one.partition, names)
            headers = [("other", b"header"), (HEADER, names)]
        site.producer.produce(
            topic,
            encoded(schema_id, one.reading),
            one.reading.sensor.encode(),
            one.partition,
            timestamp=one.timestamp,
            headers=headers,
        )
    assert site.producer.flush(30) == 0


def letters(site: Site, name: str) -> dict[tuple[int, int], tuple[int | None, int | None]]:
    found = site.query(
        'SELECT partition, "offset", retry_of, retried_by FROM kappa_dead_letter'
        " WHERE processor = :name",
        name=name,
    )
    return {(row[0], row[1]): (row[2], row[3]) for row in found}


def check(site: Site, name: str, log: Sequence[Written]) -> None:
    """Rows, letters, counts and watermarks are those of the slow way."""
    expected = judged(log)
    found = site.query(f"SELECT _partition, _offset, sensor, code, value FROM {name}__v1")
    assert {(row[0], row[1]): tuple(row[2:]) for row in found} == {
        at: (one.sensor, one.code, one.value) for at, one in expected.rows.items()
    }
    assert letters(site, name) == expected.letters
    rows = site.partitions(name).values()
    assert sum(row.filtered for row in rows) == expected.filtered
    assert sum(row.dead for row in rows) == len(expected.letters)
    assert sum(row.records for row in rows) == len(log)


LOG = drawn(140, seed=5)


@pytest.fixture(scope="module")
def topic(site: Site) -> str:
    return published(site, LOG)


def test_the_log_has_every_case() -> None:
    expected = judged(LOG)
    fates = list(expected.letters.values())
    assert fates.count((None, None)) > 5  # nothing was applied in its place
    assert sum(of is None and by is not None for of, by in fates) > 5  # a copy was
    assert sum(of is not None and by is not None for of, by in fates) > 1  # not the first one
    assert sum(of is not None and by is None for of, by in fates) > 1  # copies, and none of them
    assert expected.filtered > 20
    assert len(expected.rows) > 20


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (7, 2), (1000, 1)])
def test_a_replay_with_copies_is_a_function_of_the_log(
    site: Site, topic: str, batch_size: int, workers: int
) -> None:
    name = site.processor(LINES, topic)
    site.replay(name, batch_size, workers=workers)
    check(site, name, LOG)


def test_a_restart_between_an_original_and_its_copies_changes_nothing(
    site: Site, topic: str
) -> None:
    name = site.processor(LINES, topic)
    restarts = 0
    while True:
        try:
            site.replay(name, 3, stop_after=25)
            break
        except Interrupted:
            restarts += 1
    assert restarts > 2
    check(site, name, LOG)


def test_copies_reach_a_built_version_as_they_reach_a_build(site: Site) -> None:
    """Each record is read by a replay of its own, so that every letter comes from the table."""
    log = drawn(16, seed=8)
    topic = published(site, log[:1])
    name = site.processor(LINES, topic)
    site.replay(name)
    for number in range(1, len(log)):
        append(site, topic, log[number])
        site.replay(name)
    check(site, name, log)


def test_a_copy_that_is_left_out_moves_no_watermark(site: Site) -> None:
    """Its original was fine, and its own event time would close every window."""
    fine = Reading("s1", 1, 1.0, START_MS)
    log = [
        Written(0, fine, RIGHT),
        Written(0, replace(fine, at=START_MS + DAY_MS), RIGHT + DAY_MS, names=0),
        Written(0, replace(fine, code=2), RIGHT),
    ]
    topic = published(site, log)
    name = site.processor(TOTALS, topic)
    site.replay(name)
    assert [row[0] for row in site.totals(name).values()] == [2]
    found = site.query("SELECT max_event_time, max_record_time FROM kappa_offset"
                       " WHERE processor = :name AND partition = 0", name=name)  # fmt: skip
    assert found == [(START_MS, RIGHT)]
    assert site.partitions(name)[0].filtered == 1


def test_a_copy_of_undecodable_bytes_is_not_decoded_where_it_is_left_out(site: Site) -> None:
    """Even one of an unknown schema, which would halt a worker."""
    topic = published(site, [Written(0, Reading("s1", 1, 1.0, START_MS), RIGHT)])
    topic_id = topic_history(site.kafka, topic).topic_id
    for value in (b"\xff", b"\0\x7f\xff\xff\xff", None):
        header = [(HEADER, header_value(topic_id, 0, 0))]
        site.producer.produce(topic, value, b"s1", 0, headers=header)
    assert site.producer.flush(30) == 0
    name = site.processor(LINES, topic)
    done = site.replay(name)
    assert (done.records, done.dead, done.filtered, done.rows) == (4, 0, 3, 1)
