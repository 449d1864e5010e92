"""Compacted topics: sums refuse them, the latest row per key is right with any of it gone."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest

from kappa.errors import CompactedTopic
from kappa.log.history import topic_history
from kappa.operations.replay import DEFAULT_BATCH_SIZE, replay
from kappa.plugins import find, load
from kappa.runtime.assembly import assemble
from kappa.runtime.live.admittance import registered_positions
from kappa.versions import records
from kappa.versions.lifecycle import State
from tests.faults import Interrupted, Site, wait_until
from tests.integration.kafka_scenes import alter_topic, read, whole
from tests.readings import LATEST, LINES, START_MS, TOTALS, Reading, good, readings, tombstone

PARTITIONS = 2
SENSORS = 24
EAGER = {
    "cleanup_policy": "compact",
    "segment_ms": "50",
    "min_cleanable_dirty_ratio": "0.01",
    "min_compaction_lag_ms": "0",
}
"""Settings under which the cleaner removes what it may, as soon as it may."""

OUTLASTED = "delete.retention.ms"


@dataclass
class Register:
    """A topic that is the register of the sensors' last readings, and what it should say."""

    site: Site
    topic: str
    dice: random.Random = field(default_factory=lambda: random.Random(15))
    truth: dict[str, tuple[int, float]] = field(default_factory=dict)
    published: int = 0

    def write(self, count: int, deletions: float = 0.3) -> None:
        """Publishes updates of any sensors, some of them deletions."""
        numbers = [self.dice.randrange(SENSORS) for _ in range(count)]
        self.put((f"s{n}", n % PARTITIONS, self.dice.random() >= deletions) for n in numbers)

    def delete_all(self) -> None:
        self.put((sensor, int(sensor[1:]) % PARTITIONS, False) for sensor in list(self.truth))

    def nudge(self) -> None:
        """Gives the cleaner a closed segment, and something new to clean, in each partition."""
        self.put((f"nudge{partition}", partition, True) for partition in range(PARTITIONS))

    def put(self, changes: Iterable[tuple[str, int, bool]]) -> None:
        """Publishes new readings of sensors in their partitions; False is a deletion."""
        schema_id = self.site.schema_id(self.topic)
        records = []
        for sensor, partition, alive in changes:
            self.published += 1
            reading = Reading(sensor, self.published, self.dice.uniform(-9, 9), START_MS)
            self.truth.pop(sensor, None)
            if alive:
                self.truth[sensor] = (reading.code, reading.value)
                records.append(good(schema_id, partition, reading))
            else:
                records.append(tombstone(partition, sensor))
        self.site.publish(self.topic, records)

    def log(self) -> list[tuple[str, bytes | None]]:
        """What the log still holds, without the nudges: key and value."""
        rows = read(self.site.kafka, whole(self.site.kafka, self.topic))
        keyed = [((key or b"").decode(), value) for _, _, key, value in rows]
        return [(key, value) for key, value in keyed if not key.startswith("nudge")]


@dataclass(frozen=True)
class Compacted:
    """A register that the cleaner has been through, and versions from before that."""

    register: Register
    built: str
    halfway: str


def registers(site: Site, **config: str) -> Register:
    return Register(site, site.topic(PARTITIONS, **EAGER, **config))


def half_build(site: Site, topic: str) -> str:
    name = site.processor(LATEST, topic)
    with pytest.raises(Interrupted):
        site.replay(name, 5, stop_after=10)
    assert 0 < sum(site.positions(name).values()) < sum(site.ends(topic).values())
    return name


def before_cleaning(site: Site, register: Register) -> Compacted:
    register.write(60)
    built = site.processor(LATEST, register.topic)
    site.replay(built)
    halfway = half_build(site, register.topic)
    register.write(60)
    return Compacted(register, built, halfway)


def clean(registers: Iterable[Register], *, tombstones_too: Iterable[Register]) -> None:
    """Waits until the cleaner has left one record per key, and of some no deletion."""
    wanted, without = list(registers), list(tombstones_too)

    def done() -> bool:
        for register in wanted:
            register.nudge()
        logs = {id(register): register.log() for register in wanted}
        single = all(max(Counter(key for key, _ in log).values()) == 1 for log in logs.values())
        return single and not any(value is None for r in without for _, value in logs[id(r)])

    wait_until("compaction", done)


@pytest.fixture(scope="module")
def both(site: Site) -> tuple[Compacted, Compacted]:
    """One whose deletions are kept for long, and one where they are gone already."""
    kept = before_cleaning(site, registers(site))
    purged = before_cleaning(site, registers(site, delete_retention_ms="0"))
    clean([kept.register, purged.register], tombstones_too=[purged.register])
    assert any(value is None for _, value in kept.register.log())
    return kept, purged


@pytest.fixture(scope="module")
def kept(both: tuple[Compacted, Compacted]) -> Compacted:
    return both[0]


@pytest.fixture(scope="module")
def purged(both: tuple[Compacted, Compacted]) -> Compacted:
    return both[1]


@pytest.mark.parametrize("batch_size", [1, DEFAULT_BATCH_SIZE])
def test_deletions_that_are_still_there_delete(
    site: Site, kept: Compacted, batch_size: int
) -> None:
    register = kept.register
    name = site.processor(LATEST, register.topic)
    done = site.replay(name, batch_size)
    assert site.latest(name) == register.truth
    assert set(register.truth) < {f"s{n}" for n in range(SENSORS)} | {"nudge0", "nudge1"}
    assert done.records < register.published
    assert done.warnings == ()
    assert site.positions(name) == site.ends(register.topic)


@pytest.mark.parametrize("batch_size", [1, DEFAULT_BATCH_SIZE])
def test_deletions_that_are_gone_left_nothing_behind(
    site: Site, purged: Compacted, batch_size: int
) -> None:
    name = site.processor(LATEST, purged.register.topic)
    done = site.replay(name, batch_size)
    assert site.latest(name) == purged.register.truth
    assert done.records < purged.register.published
    assert done.filtered == done.dead == 0
    assert site.positions(name) == site.ends(purged.register.topic)
    assert OUTLASTED in done.warnings[0]  # nobody can read it within 0 ms


def test_a_version_built_before_the_cleaning_catches_up(site: Site, kept: Compacted) -> None:
    before = site.latest(kept.built)
    done = site.replay(kept.built)
    assert done.records < kept.register.published
    assert site.latest(kept.built) == kept.register.truth
    assert set(before) - set(kept.register.truth)  # some deletions came with it


@pytest.mark.parametrize("batch_size", [3, DEFAULT_BATCH_SIZE])
def test_a_build_goes_on_to_its_captured_end_in_a_log_thinned_out_since(
    site: Site, kept: Compacted, batch_size: int
) -> None:
    name = kept.halfway
    ends = site.query(
        "SELECT partition, target_offset FROM kappa_offset WHERE processor = :name", name=name
    )
    if batch_size == 3:
        assert site.replay(name, batch_size).state == "ready"
        assert site.positions(name) == dict(ends)
    site.replay(name, batch_size)
    assert site.latest(name) == kept.register.truth
    assert site.positions(name) == site.ends(kept.register.topic)


@pytest.mark.parametrize("code", [TOTALS, LINES])
def test_what_adds_up_refuses_a_compacted_topic(site: Site, kept: Compacted, code: str) -> None:
    name = site.processor(code, kept.register.topic)
    for allow_truncated in (False, True):
        with pytest.raises(CompactedTopic) as caught:
            site.replay(name, allow_truncated=allow_truncated)
        assert caught.value.detail == {"topic": kept.register.topic}
    assert site.everything(name) == ([], [], {}, [])


@pytest.mark.parametrize("batch_size", [1, DEFAULT_BATCH_SIZE])
def test_updates_and_deletions_reach_a_built_version(site: Site, batch_size: int) -> None:
    register = registers(site)
    register.write(30)
    name = half_build(site, register.topic)
    assert site.replay(name, batch_size).state == "ready"
    assert site.latest(name) == register.truth
    for deletions in (0.5, 0, 1):
        register.write(15, deletions)
        site.replay(name, batch_size)
        assert site.latest(name) == register.truth
    fresh = site.processor(LATEST, register.topic)
    site.replay(fresh, batch_size)
    assert site.latest(fresh) == register.truth
    register.delete_all()
    site.replay(name, batch_size)
    assert site.latest(name) == {}


def test_a_build_that_took_longer_than_deletions_are_kept_says_so(site: Site) -> None:
    register = registers(site, delete_retention_ms="1")
    register.write(20)
    done = site.replay(site.processor(LATEST, register.topic))
    assert any(OUTLASTED in warning and register.topic in warning for warning in done.warnings)


def test_the_time_a_build_lay_idle_counts(site: Site) -> None:
    register = registers(site)
    register.write(30)
    name = half_build(site, register.topic)
    site.query(
        "UPDATE kappa_version SET created_at = created_at - interval '1 day'"
        " WHERE processor = :name RETURNING 1",
        name=name,
    )
    done = site.replay(name)
    assert any(OUTLASTED in warning for warning in done.warnings)
    assert site.replay(name).warnings == ()  # built, and at its end


@pytest.fixture
def complete(site: Site) -> str:
    """A topic that keeps all of history."""
    topic = site.topic(PARTITIONS)
    schema_id = site.schema_id(topic)
    made = readings(60, seed=2)
    site.publish(topic, [good(schema_id, n % PARTITIONS, one) for n, one in enumerate(made)])
    return topic


def set_policy(site: Site, topic: str, policy: str) -> None:
    alter_topic(site.kafka, topic, cleanup_policy=policy)
    compacted = policy == "compact"
    wait_until("the policy", lambda: topic_history(site.kafka, topic).compacted is compacted)


def build(site: Site, name: str, on_progress: Callable[[int], None], *, shared: bool) -> None:
    """Replays the first version, alone or as one who shares it, in small checkpoints."""
    replay(
        site.settings,
        name,
        1,
        workers=1,
        batch_size=7,
        allow_truncated=False,
        shared=shared,
        on_plan=lambda planned: None,
        on_progress=on_progress,
    )


@pytest.mark.parametrize("shared", [False, True])
def test_a_topic_that_is_made_a_compacted_one_in_the_middle_of_a_build(
    site: Site, complete: str, shared: bool
) -> None:
    """What was not read by then may be gone, and nothing brings it back."""
    name = site.processor(TOTALS, complete)

    def compact(offsets: int) -> None:
        if 0 < sum(site.positions(name).values()) < 60:
            set_policy(site, complete, "compact")

    with pytest.raises(CompactedTopic, match="during the replay"):
        build(site, name, compact, shared=shared)
    assert site.everything(name)[0] == [("failed",)]
    set_policy(site, complete, "delete")
    before = site.everything(name)
    with pytest.raises(CompactedTopic, match="while this version was built"):
        site.replay(name)
    assert site.everything(name) == before


def test_who_shares_a_build_that_met_a_compacted_topic_does_not_end_it_well(
    site: Site, complete: str
) -> None:
    """Not even where the topic keeps everything again by the time it looks itself."""
    name = site.processor(TOTALS, complete)
    why = {"error": CompactedTopic.__name__}

    def fail(offsets: int) -> None:
        with site.engine.begin() as connection:
            if records.hold(connection, name, 1) is State.BUILDING:
                records.transition(connection, name, 1, State.FAILED, detail=why)

    with pytest.raises(CompactedTopic, match="while this version was built"):
        build(site, name, fail, shared=True)
    assert site.everything(name)[0] == [("failed",)]


def test_a_built_version_is_not_followed_on_a_topic_that_was_made_a_compacted_one(
    site: Site, complete: str
) -> None:
    sums, latest = (site.processor(code, complete) for code in (TOTALS, LATEST))
    assemblies = {}
    for name in (sums, latest):
        site.replay(name)
        assemblies[name] = assemble(load(find(name, 1)), site.registry)
    set_policy(site, complete, "compact")
    with pytest.raises(CompactedTopic):
        registered_positions(site.engine, site.kafka, assemblies[sums], lambda note: None)
    found = registered_positions(site.engine, site.kafka, assemblies[latest], lambda note: None)
    assert {row.partition: row.next_offset for row in found} == site.ends(complete)
