"""Transactions: only what was committed counts, and no marker or open tail holds a replay up."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from kappa.log.history import topic_history
from kappa.operations.replay import DEFAULT_BATCH_SIZE
from tests.faults import Site, wait_until
from tests.integration.kafka_scenes import producer
from tests.readings import LINES, TOTALS, Reading, Sent, expected_totals, good, readings

PARTITIONS = 2
TRANSACTIONS = 8
ABORTED = 0.3


@dataclass
class Scene:
    """Producers whose transactions interleave, and what they committed."""

    site: Site
    topic: str
    dice: random.Random = field(default_factory=lambda: random.Random(16))
    committed: list[Sent] = field(default_factory=list)
    aborted: int = 0
    clock: int = 0

    def run(self, producers: int) -> None:
        actors = [Actor(self, number) for number in range(producers)]
        while waiting := [actor for actor in actors if actor.ended < TRANSACTIONS]:
            self.dice.choice(waiting).step()

    def plain(self, count: int) -> None:
        """Records without any transaction."""
        schema_id = self.site.schema_id(self.topic)
        self.committed += self.site.publish(
            self.topic,
            [good(schema_id, self.clock % PARTITIONS, reading) for reading in self.next(count)],
        )

    def next(self, count: int) -> list[Reading]:
        self.clock += count
        return readings(self.clock, seed=3)[-count:]


class Actor:
    """One transactional producer."""

    def __init__(self, scene: Scene, number: int) -> None:
        self.ended = 0
        self._scene = scene
        self._schema_id = scene.site.schema_id(scene.topic)
        name = f"{scene.topic}-{number}"
        self._client = producer(scene.site.kafka, transactional_id=name, linger_ms=0)
        self._client.init_transactions(20)
        self._open: list[Sent] | None = None

    def step(self) -> None:
        """Begins a transaction, sends a few records in it, or ends it."""
        dice = self._scene.dice
        if self._open is None:
            self._client.begin_transaction()
            self._open = []
        elif dice.random() < 0.4:
            self.end(abort=dice.random() < ABORTED)
        else:
            self.send(dice.randint(1, 6))

    def send(self, count: int) -> None:
        assert self._open is not None
        scene = self._scene
        records = [
            good(self._schema_id, scene.dice.randrange(PARTITIONS), reading)
            for reading in scene.next(count)
        ]
        self._open += scene.site.publish(scene.topic, records, self._client)

    def end(self, *, abort: bool) -> None:
        assert self._open is not None
        if abort:
            self._client.abort_transaction(20)
            self._scene.aborted += len(self._open)
        else:
            self._client.commit_transaction(20)
            self._scene.committed += self._open
        self._open = None
        self.ended += 1


KILLED = """
import sys, time
from confluent_kafka import Producer

servers, topic, name, value = sys.argv[1:]
producer = Producer({"bootstrap.servers": servers, "transactional.id": name})
producer.init_transactions(20)
producer.begin_transaction()
for number in range(10):
    producer.produce(topic, bytes.fromhex(value), b"lost", number % 2)
assert producer.flush(20) == 0
print("open", flush=True)
time.sleep(300)
"""


def leave_open(site: Site, topic: str) -> str:
    """Kills a producer in the middle of its transaction; returns its name."""
    name = f"{topic}-killed"
    value = good(site.schema_id(topic), 0, readings(1, seed=1)[0]).value
    assert value is not None
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, site.kafka.bootstrap_servers, topic, name, value.hex()],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    process.kill()
    process.wait()
    process.stdout.close()
    return name


def ends(site: Site, topic: str) -> dict[int, tuple[int, int]]:
    """Last stable offset and high watermark of each partition."""
    parts = topic_history(site.kafka, topic).partitions
    return {part.partition: (part.end, part.high_watermark) for part in parts}


def end_transaction(site: Site, topic: str, name: str) -> None:
    """The producer comes back under its name, which aborts what it had left open."""
    producer(site.kafka, transactional_id=name).init_transactions(20)
    wait_until("the abort", lambda: all(end == mark for end, mark in ends(site, topic).values()))


def check(site: Site, totals: str, lines: str, committed: list[Sent]) -> None:
    """Both tables hold exactly the committed records, and positions are at the stable end."""
    rows, expected = expected_totals(committed)
    assert (site.totals(totals), site.late(totals)) == (rows, expected.late)
    found = site.query(f"SELECT _partition, _offset, sensor, code, value FROM {lines}__v1")
    assert {(row[0], row[1]): tuple(row[2:]) for row in found} == {
        (one.partition, one.offset): (one.reading.sensor, one.reading.code, one.reading.value)
        for one in committed
        if one.reading is not None and one.reading.code != 13
    }
    for name in (totals, lines):
        for number, row in site.partitions(name).items():
            here = [one for one in committed if one.partition == number]
            assert row.records == len(here)
            assert row.dead == 0
            applied = row.records - row.late - row.filtered
            gaps = row.next_offset - len(here)  # aborted records and markers
            assert applied + row.late + row.filtered + gaps == row.next_offset


@pytest.fixture(scope="module")
def scene(site: Site) -> Scene:
    """Three producers, aborts, plain records between them, and an aborted tail."""
    scene = Scene(site, site.topic(PARTITIONS))
    scene.run(3)
    scene.plain(9)
    scene.run(3)
    tail = Actor(scene, 0)
    tail.step()
    tail.send(20)
    tail.end(abort=True)
    assert len(scene.committed) > 100
    assert scene.aborted > 50
    return scene


@pytest.mark.parametrize("batch_size", [1, 7, DEFAULT_BATCH_SIZE])
def test_exactly_what_was_committed(site: Site, scene: Scene, batch_size: int) -> None:
    totals, lines = (site.processor(code, scene.topic) for code in (TOTALS, LINES))
    for name in (totals, lines):
        done = site.replay(name, batch_size)
        assert (done.state, done.records) == ("ready", len(scene.committed))
        assert site.positions(name) == site.ends(scene.topic)
    check(site, totals, lines, scene.committed)
    assert site.late(totals)
    log_ends = sum(site.ends(scene.topic).values())
    assert log_ends > len(scene.committed) + scene.aborted  # there are markers


def test_a_log_of_nothing_but_aborted_records(site: Site) -> None:
    scene = Scene(site, site.topic(PARTITIONS))
    actor = Actor(scene, 0)
    for _ in range(3):
        actor.step()
        actor.send(8)
        actor.end(abort=True)
    totals, lines = (site.processor(code, scene.topic) for code in (TOTALS, LINES))
    for name in (totals, lines):
        done = site.replay(name, 1)
        assert (done.state, done.records, done.rows) == ("ready", 0, 0)
        assert site.positions(name) == site.ends(scene.topic)
        assert sum(site.positions(name).values()) > 24
    scene.plain(5)
    for name in (totals, lines):
        assert site.replay(name).records == 5
    check(site, totals, lines, scene.committed)


@pytest.mark.parametrize("batch_size", [1, DEFAULT_BATCH_SIZE])
def test_an_open_transaction_ends_a_replay_at_its_beginning(site: Site, batch_size: int) -> None:
    scene = Scene(site, site.topic(PARTITIONS))
    scene.plain(21)
    lost = leave_open(site, scene.topic)
    before = ends(site, scene.topic)
    seen = list(scene.committed)
    scene.plain(10)  # committed, and behind the open transaction
    totals, lines = (site.processor(code, scene.topic) for code in (TOTALS, LINES))
    for _ in range(2):
        for name in (totals, lines):
            assert site.replay(name, batch_size).state == "ready"
            assert site.positions(name) == {number: end for number, (end, _) in before.items()}
        check(site, totals, lines, seen)

    end_transaction(site, scene.topic, lost)
    for name in (totals, lines):
        assert site.replay(name, batch_size).records == 10
        assert site.positions(name) == site.ends(scene.topic)
    check(site, totals, lines, scene.committed)


def test_a_transaction_that_commits_while_it_is_read_past_the_captured_end(site: Site) -> None:
    """What becomes stable between the plan and the reading waits for the next replay."""
    scene = Scene(site, site.topic(PARTITIONS))
    scene.plain(8)
    actor = Actor(scene, 0)
    actor.step()
    actor.send(12)
    totals, lines = (site.processor(code, scene.topic) for code in (TOTALS, LINES))
    captured = site.ends(scene.topic)
    seen = list(scene.committed)

    def commit() -> None:
        actor.end(abort=False)
        wait_until("the commit", lambda: site.ends(scene.topic) != captured)

    assert site.replay(totals, once_planned=commit).records == len(seen)
    assert site.positions(totals) == captured
    assert site.totals(totals) == expected_totals(seen)[0]
    for name in (totals, lines):
        site.replay(name)
    check(site, totals, lines, scene.committed)


def test_a_transaction_that_timed_out_is_aborted_by_the_broker(site: Site) -> None:
    scene = Scene(site, site.topic(PARTITIONS))
    scene.plain(6)
    client = producer(
        site.kafka,
        transactional_id=f"{scene.topic}-slow",
        transaction_timeout_ms=2000,
        socket_timeout_ms=2000,
    )
    client.init_transactions(20)
    client.begin_transaction()
    site.publish(scene.topic, [good(site.schema_id(scene.topic), 0, scene.next(1)[0])], client)
    scene.plain(4)
    totals, lines = (site.processor(code, scene.topic) for code in (TOTALS, LINES))
    site.replay(totals)  # up to the open transaction, if it still is
    wait_until(
        "the time-out", lambda: all(end == mark for end, mark in ends(site, scene.topic).values())
    )
    for name in (totals, lines):
        site.replay(name)
    check(site, totals, lines, scene.committed)
