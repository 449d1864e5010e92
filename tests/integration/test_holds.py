"""Versions that are held, as those who read for them meet it.

v1  ──●──●──●──┤ held at H ├──●──●──
v2  ─●───●─────●───●───────┤──●──●──
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from kappa.errors import Fenced, NotCaughtUp, SourceDropped, VersionHeld
from kappa.runtime.worker import holding as worker_side
from kappa.runtime.worker.claiming import claim
from kappa.tables import holds, progress
from kappa.tables.progress import Advance, NewPartition
from kappa.versions import comparisons, holding
from kappa.versions.comparisons import Allowance
from tests.faults import wait_until
from tests.integration.tables_scenes import TOPIC_ID, declare, items, move_to, ready

Unique = Callable[[str], str]
PLACE = ("t", 0)


@pytest.fixture
def name(engine: Engine, unique: Unique) -> str:
    """Version 1 is at 10, version 2 at 7."""
    name = unique("held")
    ready(engine, items(name, 1), [10])
    ready(engine, items(name, 2), [7])
    return name


def offset(engine: Engine, name: str, version: int) -> int:
    with engine.connect() as conn:
        return progress.read(conn, name, version)[0].next_offset


def held(engine: Engine, name: str, version: int) -> dict[tuple[str, int], int]:
    with engine.connect() as conn:
        return holds.until(conn, name, version)


def advance(engine: Engine, name: str, version: int, epoch: int, old: int, new: int) -> None:
    step = Advance(*PLACE, epoch, old, new, None, None, new - old)
    with engine.begin() as conn:
        progress.advance(conn, name, version, [step])


@contextmanager
def reading(engine: Engine, name: str, version: int) -> Iterator[list[int]]:
    """Reads on one by one, as a worker does; gives the offsets it has claimed at."""
    over = Event()
    claimed: list[int] = []

    def work() -> None:
        while not over.wait(0.005):
            if worker_side.stands(engine, items(name, version), [PLACE]):
                continue
            one = claim(engine, name, version, [PLACE], f"worker{version}")[PLACE]
            claimed.append(one.next_offset)
            at, end = one.next_offset, worker_side.end_of(one, None)
            released = worker_side.released(engine, items(name, version), {PLACE: one})
            try:
                while not over.wait(0.002) and not released() and at != end:
                    advance(engine, name, version, one.epoch, at, at + 1)
                    at += 1
            except Fenced:
                continue

    thread = Thread(target=work)
    thread.start()
    try:
        yield claimed
    finally:
        over.set()
        thread.join()


def expire(engine: Engine, name: str) -> None:
    with engine.begin() as conn:
        conn.execute(
            text("UPDATE kappa_hold SET expires_at = now() - interval '1 s' WHERE processor = :p"),
            {"p": name},
        )


def test_whoever_claims_reads_to_the_hold_and_no_further(engine: Engine, name: str) -> None:
    hold = holding.place(engine, name, (1, 2))
    assert [at.next_offset for at in hold.offsets] == [10]
    one, two = (claim(engine, name, version, [PLACE], "w")[PLACE] for version in (1, 2))
    assert (one.next_offset, one.held_until) == (10, 10)
    assert (two.next_offset, two.held_until) == (7, 10)
    assert worker_side.end_of(two, 30) == 10
    assert worker_side.end_of(two, 8) == 8
    holding.release(engine, hold)
    assert claim(engine, name, 2, [PLACE], "w")[PLACE].held_until is None


def test_a_checkpoint_under_way_is_fenced_and_the_owner_stays(engine: Engine, name: str) -> None:
    before = claim(engine, name, 1, [PLACE], "w")[PLACE]
    hold = holding.place(engine, name, (1, 2))
    with pytest.raises(Fenced) as refused:
        advance(engine, name, 1, before.epoch, 10, 11)
    assert refused.value.detail["owner_now"] == "w"
    holding.release(engine, hold)


def test_a_partition_that_the_hold_does_not_know_stays_where_it_is(
    engine: Engine, name: str
) -> None:
    hold = holding.place(engine, name, (1, 2))
    with engine.begin() as conn:
        progress.register(conn, name, 1, [NewPartition("t", 1, TOPIC_ID, 0)])
    claimed = claim(engine, name, 1, [("t", 1)], "w")["t", 1]
    assert claimed.held_until == claimed.next_offset == 0
    holding.release(engine, hold)


def test_a_partition_that_one_version_has_not_begun_is_held_for_it_too(
    engine: Engine, unique: Unique
) -> None:
    name = unique("held")
    ready(engine, items(name, 1), [10, 4])
    ready(engine, items(name, 2), [10])
    hold = holding.place(engine, name, (1, 2))
    assert held(engine, name, 2) == {("t", 0): 10, ("t", 1): 4}
    assert not worker_side.stands(engine, items(name, 2), [("t", 0), ("t", 1)])
    holding.release(engine, hold)


def test_an_expired_hold_holds_nobody(engine: Engine, name: str) -> None:
    holding.place(engine, name, (1, 2))
    assert worker_side.stands(engine, items(name, 1), [PLACE])
    assert not worker_side.stands(engine, items(name, 2), [PLACE])
    expire(engine, name)
    assert not worker_side.stands(engine, items(name, 1), [PLACE])
    assert claim(engine, name, 1, [PLACE], "w")[PLACE].held_until is None
    again = holding.place(engine, name, (1, 2))
    assert held(engine, name, 1) == {PLACE: 10}
    holding.release(engine, again)


def test_the_second_of_two_comparisons_is_refused(engine: Engine, name: str) -> None:
    ready(engine, items(name, 3), [10])
    hold = holding.place(engine, name, (1, 2))
    for versions in ((1, 2), (3, 1), (2, 3)):
        with pytest.raises(VersionHeld, match="by somebody else"):
            holding.place(engine, name, versions)
    holding.release(engine, hold)
    holding.release(engine, holding.place(engine, name, (1, 3)))


def test_another_processor_is_not_concerned(engine: Engine, name: str, unique: Unique) -> None:
    other = unique("held")
    for version in (1, 2):
        ready(engine, items(other, version), [3])
    hold = holding.place(engine, name, (1, 2))
    with holding.at_same_offsets(engine, other, (1, 2), timeout_s=5) as moment:
        assert [at.next_offset for at in moment.offsets] == [3]
    assert held(engine, name, 1)
    holding.release(engine, hold)


def test_both_are_seen_at_the_same_offsets_while_both_read_on(engine: Engine, name: str) -> None:
    with reading(engine, name, 1) as one, reading(engine, name, 2) as two:
        for _ in range(5):
            with holding.at_same_offsets(engine, name, (1, 2), timeout_s=30) as moment:
                seen = [progress.read(moment.conn, name, version) for version in (1, 2)]
                (offsets,) = {rows[0].next_offset for rows in seen}
                assert [offsets] == [at.next_offset for at in moment.offsets]
                assert not held(engine, name, 1)
                wait_until("version 1 reads on", lambda: offset(engine, name, 1) > offsets)  # noqa: B023
                again = progress.read(moment.conn, name, 1)[0].next_offset
                assert again == offsets
    assert len(one) > 1
    assert len(two) > 1


def test_nobody_reading_for_the_one_behind_is_an_error_and_frees_the_other(
    engine: Engine, name: str
) -> None:
    with pytest.raises(NotCaughtUp, match="version 2 did not come") as refused:
        comparisons.compare(
            engine,
            name,
            1,
            2,
            who="test",
            allowance=Allowance(),
            most_samples=1,
            timeout_s=0.2,
        )
    assert f"kappa replay {name} --version 2" in refused.value.hint
    assert held(engine, name, 1) == held(engine, name, 2) == {}
    with engine.connect() as conn:
        assert comparisons.latest(conn, name, 1, 2) is None


def test_a_hold_is_released_whatever_ends_the_wait(
    engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(holding.time, "sleep", interrupt)
    with (
        pytest.raises(KeyboardInterrupt),
        holding.at_same_offsets(engine, name, (1, 2), timeout_s=30),
    ):
        raise AssertionError("version 2 cannot be there")
    assert held(engine, name, 1) == {}


def test_a_hold_goes_on_while_its_command_lives(
    engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that lasts for an instant would be over long before version 2 is there."""
    monkeypatch.setattr(holding, "_RENEW_S", 0.0)
    renewed: list[bool] = []
    renew = holds.renew

    def counted(*args: object) -> bool:
        renewed.append(renew(*args))  # type: ignore[arg-type]
        if len(renewed) == 3:
            move_to(engine, items(name, 2), [10])
        return renewed[-1]

    monkeypatch.setattr(holding.holds, "renew", counted)
    with holding.at_same_offsets(engine, name, (1, 2), timeout_s=30):
        pass
    assert renewed == [True] * 3


def test_a_command_that_was_asleep_for_longer_than_its_hold_gives_up(
    engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "_RENEW_S", 0.0)
    monkeypatch.setattr(holding.time, "sleep", lambda seconds: expire(engine, name))
    with (
        pytest.raises(VersionHeld, match="expired"),
        holding.at_same_offsets(engine, name, (1, 2), timeout_s=30),
    ):
        raise AssertionError("version 2 cannot be there")


def test_versions_of_two_topics_are_not_held(engine: Engine, unique: Unique) -> None:
    name = unique("held")
    ready(engine, items(name, 1), [10])
    with engine.begin() as conn:
        declare(conn, items(name, 2))
        progress.register(conn, name, 2, [NewPartition("u", 0, TOPIC_ID, 0)])
    with pytest.raises(SourceDropped):
        holding.place(engine, name, (1, 2))
    assert held(engine, name, 1) == {}


def test_only_its_own_hold_is_released(engine: Engine, name: str) -> None:
    hold = holding.place(engine, name, (1, 2))
    with engine.begin() as conn:
        holds.release(conn, uuid4())
    assert held(engine, name, 1)
    holding.release(engine, hold)
