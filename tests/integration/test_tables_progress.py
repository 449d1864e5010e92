"""Offsets move by compare-and-set: under the right epoch, from the right place, all or none."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

import pytest
from sqlalchemy import Engine, text

from kappa.errors import DatabaseUnavailable, Fenced, TopicRecreated, UnknownVersion
from kappa.tables import progress, recovery
from kappa.tables.progress import Advance, Claimed, NewPartition, Partition
from tests.integration.tables_scenes import TOPIC_ID, declare, items, wait_until_blocked

Unique = Callable[[str], str]
ALL: list[Partition] = [("t", 0), ("t", 1), ("t", 2)]


@pytest.fixture
def name(engine: Engine, unique: Unique) -> str:
    """A processor whose version 1 reads partitions 0, 1 and 2 of t."""
    layout = items(unique("progress"))
    with engine.begin() as conn:
        declare(conn, layout)
        new = [NewPartition("t", number, TOPIC_ID, 0, 100) for number in range(3)]
        assert progress.register(conn, layout.processor, 1, new) == 3
    return layout.processor


def claim(engine: Engine, name: str, partitions: list[Partition] = ALL) -> list[Claimed]:
    with engine.begin() as conn:
        return list(progress.claim(conn, name, 1, partitions, "worker").values())


def step(claimed: Claimed, to: int, **counters: int) -> Advance:
    return Advance(
        topic=claimed.topic,
        partition=claimed.partition,
        epoch=claimed.epoch,
        old_offset=claimed.next_offset,
        new_offset=to,
        max_event_time=None,
        max_record_time=None,
        records=counters.pop("records", 0),
        **counters,
    )


def offsets(engine: Engine, name: str) -> list[int]:
    with engine.begin() as conn:
        return [row.next_offset for row in progress.read(conn, name, 1)]


def test_a_claim_gives_the_place_and_a_new_epoch(engine: Engine, name: str) -> None:
    first = claim(engine, name)
    second = claim(engine, name, [("t", 1)])
    assert [row.epoch for row in first] == [1, 1, 1]
    assert (second[0].epoch, second[0].next_offset, second[0].target_offset) == (2, 0, 100)


def test_an_advance_moves_every_partition_and_adds_up(engine: Engine, name: str) -> None:
    rows = claim(engine, name)
    with engine.begin() as conn:
        progress.advance(
            conn,
            name,
            1,
            [
                Advance("t", 0, rows[0].epoch, 0, 10, 500, 600, 8, 1, 2, 3, frozenset({7, 3})),
                Advance("t", 2, rows[2].epoch, 0, 5, None, None, 5),
            ],
        )
        progress.advance(
            conn,
            name,
            1,
            [Advance("t", 0, rows[0].epoch, 10, 20, 400, 700, 9, schema_ids=frozenset({3, 9}))],
        )
        zero, one, two = progress.read(conn, name, 1)
    assert (zero.next_offset, one.next_offset, two.next_offset) == (20, 0, 5)
    assert (zero.max_event_time, zero.max_record_time) == (500, 700)
    assert (zero.records, zero.late, zero.dead, zero.filtered) == (17, 1, 2, 3)
    assert zero.schema_ids == (3, 7, 9)
    assert (two.max_event_time, two.records, two.schema_ids) == (None, 5, ())


def test_a_zombie_moves_nothing(engine: Engine, name: str) -> None:
    """It claimed first; somebody else claimed since and has not even moved."""
    zombie = claim(engine, name)
    claim(engine, name, [("t", 1)])
    with pytest.raises(Fenced) as caught, engine.begin() as conn:
        progress.advance(conn, name, 1, [step(row, 10) for row in zombie])
    assert caught.value.detail["partitions"] == "t/1"
    assert (caught.value.detail["epoch"], caught.value.detail["epoch_now"]) == (1, 2)
    assert offsets(engine, name) == [0, 0, 0]


def test_one_partition_out_of_place_takes_all_back(engine: Engine, name: str) -> None:
    rows = claim(engine, name)
    with engine.begin() as conn:
        progress.advance(conn, name, 1, [step(rows[1], 4)])
    with pytest.raises(Fenced) as caught, engine.begin() as conn:
        progress.advance(conn, name, 1, [step(row, 10) for row in rows])
    assert caught.value.detail["offset_now"] == 4
    assert offsets(engine, name) == [0, 4, 0]


def test_the_same_step_twice_counts_once(engine: Engine, name: str) -> None:
    row = claim(engine, name)[0]
    with engine.begin() as conn:
        progress.advance(conn, name, 1, [step(row, 10, records=10)])
    with pytest.raises(Fenced), engine.begin() as conn:
        progress.advance(conn, name, 1, [step(row, 10, records=10)])
    with engine.begin() as conn:
        assert progress.read(conn, name, 1)[0].records == 10


def test_an_advance_waits_for_a_claim_and_is_fenced(engine: Engine, name: str) -> None:
    """The condition is looked at again once the lock is free."""
    zombie = claim(engine, name)
    outcome: list[BaseException] = []

    def advance() -> None:
        try:
            with engine.begin() as conn:
                progress.advance(conn, name, 1, [step(row, 10) for row in zombie])
        except Fenced as error:
            outcome.append(error)

    thread = Thread(target=advance)
    with engine.begin() as conn:
        progress.claim(conn, name, 1, [("t", 2)], "other")
        thread.start()
        wait_until_blocked(engine)
    thread.join()
    assert [type(error) for error in outcome] == [Fenced]
    assert offsets(engine, name) == [0, 0, 0]


def test_a_lost_commit_is_settled(engine: Engine, name: str) -> None:
    rows = claim(engine, name)
    steps = [step(row, 10) for row in rows]
    with engine.begin() as conn:
        assert not recovery.settle(conn, name, 1, steps)
        progress.advance(conn, name, 1, steps)
    with engine.begin() as conn:
        assert recovery.settle(conn, name, 1, steps)
    claim(engine, name, [("t", 2)])
    with pytest.raises(Fenced, match="t/2"), engine.begin() as conn:
        recovery.settle(conn, name, 1, steps)


def test_settling_waits_for_a_commit_still_running(engine: Engine, name: str) -> None:
    row = claim(engine, name)[0]
    found: list[bool] = []

    def settle() -> None:
        with engine.begin() as conn:
            found.append(recovery.settle(conn, name, 1, [step(row, 10)]))

    thread = Thread(target=settle)
    with engine.begin() as conn:
        progress.advance(conn, name, 1, [step(row, 10)])
        thread.start()
        wait_until_blocked(engine)
    thread.join()
    assert found == [True]


def test_registering_again_adds_only_new_partitions(engine: Engine, name: str) -> None:
    more = [NewPartition("t", number, TOPIC_ID, 7) for number in range(5)]
    with engine.begin() as conn:
        assert progress.register(conn, name, 1, more) == 2
        assert progress.register(conn, name, 1, []) == 0
    assert offsets(engine, name) == [0, 0, 0, 7, 7]


def test_another_topic_of_the_same_name_is_refused(engine: Engine, name: str) -> None:
    with pytest.raises(TopicRecreated) as caught, engine.begin() as conn:
        progress.register(conn, name, 1, [NewPartition("t", 0, "another", 0)])
    assert caught.value.detail["found"] == "another"


def test_no_partition_slips_past_a_promote(engine: Engine, name: str) -> None:
    """A promote holds the processor's row; registering waits for it."""
    thread = Thread(target=lambda: _register(engine, name, NewPartition("t", 3, TOPIC_ID, 0)))
    with engine.begin() as conn:
        conn.execute(text("SELECT 1 FROM kappa_processor WHERE name = :n FOR UPDATE"), {"n": name})
        thread.start()
        wait_until_blocked(engine)
        assert len(offsets(engine, name)) == 3
    thread.join()
    assert len(offsets(engine, name)) == 4


def _register(engine: Engine, name: str, new: NewPartition) -> None:
    with engine.begin() as conn:
        progress.register(conn, name, 1, [new])


def test_what_nobody_registered_cannot_be_claimed(engine: Engine, name: str) -> None:
    with pytest.raises(UnknownVersion) as caught:
        claim(engine, name, [("t", 0), ("t", 9)])
    assert caught.value.detail["partition"] == 9
    with pytest.raises(UnknownVersion), engine.begin() as conn:
        progress.register(conn, f"{name}x", 1, [NewPartition("t", 0, TOPIC_ID, 0)])


def test_a_paused_owner_is_ended_and_nobody_else(engine: Engine, name: str) -> None:
    """It hangs in its transaction with its rows locked; a claim needs them."""
    with engine.connect() as paused, engine.begin() as bystander:
        with paused.begin():
            progress.claim(paused, name, 1, ALL, "paused")
        paused.execute(
            text("SELECT 1 FROM kappa_offset WHERE processor = :n FOR UPDATE"), {"n": name}
        )
        with engine.begin() as conn:
            ended = recovery.terminate_owners(conn, name, 1, [("t", 0)])
        assert len(ended) == 1
        assert claim(engine, name)[0].epoch == 2
        assert bystander.scalar(text("SELECT 1")) == 1
        with pytest.raises(DatabaseUnavailable):
            paused.execute(text("SELECT 1"))
