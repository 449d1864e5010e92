"""A version that never gets ahead of the one in service, which stops for it in the end.

v1  ──●──●──●──●──┤ drained ├── fenced, takes no input
v2  ─●──●──●──●───────────●┤ at v1's offsets: the view moves
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from threading import Event
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from kappa.errors import DrainExpired, Fenced, NotCaughtUp
from kappa.runtime.worker.claiming import claim
from kappa.tables import progress, workers
from kappa.tables.progress import Advance
from kappa.tables.workers import WorkerRow
from kappa.versions import drain, timeline
from kappa.versions.deployment import Move
from kappa.versions.drain import Drain
from kappa.versions.lifecycle import State
from kappa.versions.promote import Persistence, Promoted, promote
from tests.faults import beside, wait_until
from tests.integration.tables_scenes import items, ready
from tests.integration.test_promote import active, states

Unique = Callable[[str], str]
PLACE = ("t", 0)
PATIENT = Persistence(deadline_s=60, drain_s=30)


@pytest.fixture
def name(engine: Engine, unique: Unique) -> str:
    """Version 1 serves, version 2 is one record behind."""
    name = unique("drain")
    ready(engine, items(name, 1), [10])
    ready(engine, items(name, 2), [9])
    promote(engine, {name: 1}, who="test")
    return name


def offset(engine: Engine, name: str, version: int) -> int:
    with engine.connect() as conn:
        return progress.read(conn, name, version)[0].next_offset


def worker(
    engine: Engine,
    name: str,
    version: int,
    next_step: Callable[[int], int],
    *,
    pause_s: float = 0.002,
    checkpoint_s: float = 0.0,
) -> AbstractContextManager[None]:
    """Reads on by ``next_step`` of where it is, as a worker does; claims again when fenced."""

    def work(over: Event) -> None:
        while not over.is_set():
            try:
                held = claim(engine, name, version, [PLACE], f"worker{version}")[PLACE]
                at = held.next_offset
                while not over.wait(pause_s):
                    to = next_step(at)
                    if to > at:
                        step = Advance(*PLACE, held.epoch, at, to, None, None, to - at)
                        with engine.begin() as conn:
                            progress.advance(conn, name, version, [step])
                            conn.execute(text("SELECT pg_sleep(:s)"), {"s": checkpoint_s})
                        at = to
            except Fenced:
                over.wait(0.01)

    return beside(work)


def begin_drain(engine: Engine, name: str, seconds: float) -> tuple[Drain, ...]:
    """Version 1 drains for version 2."""
    moves = [Move(name, 1, 2)]
    return drain.begin(engine, moves, seconds, by="killed", deployment_id=uuid4())


def test_a_version_that_stays_one_behind_is_let_ahead(engine: Engine, name: str) -> None:
    with (
        worker(engine, name, 1, lambda at: at + 1),
        worker(engine, name, 2, lambda at: at + min(offset(engine, name, 1) - at, 1 + at % 2)),
    ):
        done = promote(engine, {name: 2}, who="ann", persistence=PATIENT)
    assert done.changed
    assert active(engine, name) == 2
    assert states(engine, name) == {1: State.STANDBY, 2: State.SERVING}
    (moved,) = done.moves
    with engine.connect() as conn:
        steps = timeline.read(conn, name, 1)
    if done.drained:
        drained = next(step for step in steps if step.to_state is State.DRAINING)
        assert (drained.who, drained.deployment_id) == ("ann", done.deployment_id)
        assert moved.offsets[0].next_offset == drained.offsets[0]["to"]


def test_only_a_drain_lets_a_version_ahead_that_copies_each_step(engine: Engine, name: str) -> None:
    """Version 2 is always one record behind while version 1 takes input."""

    def behind(at: int) -> int:
        one = offset(engine, name, 1)
        with engine.connect() as conn:
            drains = conn.scalar(
                text("SELECT state FROM kappa_version WHERE processor = :n AND version = 1"),
                {"n": name},
            )
        return max(at, one if drains == "draining" else one - 1)

    with worker(engine, name, 1, lambda at: at + 1), worker(engine, name, 2, behind):
        done = promote(engine, {name: 2}, who="test", persistence=PATIENT)
    assert done.drained
    assert done.attempts > PATIENT.drain_after  # type: ignore[operator]
    assert active(engine, name) == 2


def test_a_drain_that_does_not_help_ends_and_the_old_version_goes_on(
    engine: Engine, name: str
) -> None:
    """Version 2 reads on, too slowly: it never comes to where version 1 stopped."""
    ready(engine, items(name, 3), [0])
    with engine.begin() as conn:
        conn.execute(
            text(
                "UPDATE kappa_offset SET next_offset = 1000000 WHERE processor = :n AND version=1"
            ),
            {"n": name},
        )
    impatient = Persistence(deadline_s=60, drain_s=0.2)
    with worker(engine, name, 3, lambda at: at + 1), pytest.raises(DrainExpired) as caught:
        promote(engine, {name: 3}, who="test", persistence=impatient)
    assert caught.value.detail["served"] == 1_000_000
    assert states(engine, name)[1] is State.SERVING
    with engine.connect() as conn:
        last = timeline.read(conn, name, 1)[-1]
    assert (last.from_state, last.detail) == (State.DRAINING, {"reason": "DrainExpired"})
    assert claim(engine, name, 1, [PLACE], "again")[PLACE].next_offset == 1_000_000


def test_checkpoints_that_never_leave_a_gap_are_stopped(engine: Engine, name: str) -> None:
    """Version 1 begins each checkpoint the moment the last one ends, and each takes long."""
    ready(engine, items(name, 3), [1_000_000])
    with worker(engine, name, 1, lambda at: at + 1, pause_s=0, checkpoint_s=1.5):
        done = promote(engine, {name: 3}, who="test", persistence=PATIENT)
    assert done.changed
    assert active(engine, name) == 3


def test_nobody_reads_the_new_version_so_nothing_is_drained(engine: Engine, name: str) -> None:
    with pytest.raises(NotCaughtUp):
        promote(engine, {name: 2}, who="test", persistence=Persistence(unread_s=0))
    with engine.connect() as conn:
        seen = {step.to_state for step in timeline.read(conn, name, 1)}
    assert State.DRAINING not in seen


def test_nobody_reads_one_of_two_so_neither_is_drained(
    engine: Engine, name: str, unique: Unique
) -> None:
    """A worker reads on for the other, which is far ahead."""
    other = unique("moves")
    ready(engine, items(other, 1), [10])
    promote(engine, {other: 1}, who="test")
    ready(engine, items(other, 2), [1_000_000])
    eager = Persistence(deadline_s=60, unread_s=2, drain_after=1, drain_s=0.2)
    with worker(engine, other, 2, lambda at: at + 1), pytest.raises(NotCaughtUp) as caught:
        promote(engine, {name: 2, other: 2}, who="test", persistence=eager)
    assert caught.value.detail["processor"] == name
    with engine.connect() as conn:
        steps = [*timeline.read(conn, name, 1), *timeline.read(conn, other, 1)]
    assert State.DRAINING not in {step.to_state for step in steps}


def test_a_version_whose_worker_has_died_is_waited_for(engine: Engine, name: str) -> None:
    """Its row is there for a while; by then another one reads on."""
    died = WorkerRow(uuid4(), name, 2, "host:1", "running", datetime.now(UTC))
    with engine.begin() as conn:
        workers.report(conn, died)
    heard: list[str] = []
    promoted: list[Promoted] = []
    impatient = Persistence(deadline_s=60, idle_s=60, unread_s=0)

    def work(_: Event) -> None:
        promoted.append(
            promote(engine, {name: 2}, who="t", persistence=impatient, listener=heard.append)
        )

    with beside(work):
        wait_until("it is behind", lambda: any("behind" in said for said in heard))
        with worker(engine, name, 2, lambda at: 10):
            wait_until("the view moves", lambda: active(engine, name) == 2)
    assert promoted[0].changed


def test_while_it_drains_it_cannot_be_claimed_and_what_was_claimed_is_fenced(
    engine: Engine, name: str
) -> None:
    held = claim(engine, name, 1, [PLACE], "worker")[PLACE]
    (begun,) = begin_drain(engine, name, 60)
    step = Advance(*PLACE, held.epoch, 10, 11, None, None, 1)
    with pytest.raises(Fenced), engine.begin() as conn:
        progress.advance(conn, name, 1, [step])
    with pytest.raises(Fenced, match="takes no input"):
        claim(engine, name, 1, [PLACE], "worker")
    with engine.begin() as conn:
        assert not drain.expire(conn, name, 1, by="test"), "its time is not over"
    assert drain.end(engine, begun, by="test", reason="over")
    assert not drain.end(engine, begun, by="test", reason="over"), "only once"
    assert claim(engine, name, 1, [PLACE], "worker")[PLACE].next_offset == 10


def test_a_drain_nobody_ends_is_ended_by_whoever_notices(engine: Engine, name: str) -> None:
    begin_drain(engine, name, 0)
    with engine.begin() as conn:
        assert drain.expire(conn, name, 1, by="worker")
    assert states(engine, name)[1] is State.SERVING


def test_a_promote_takes_over_from_one_that_was_killed_in_its_drain(
    engine: Engine, name: str
) -> None:
    begin_drain(engine, name, 60)
    claimed = claim(engine, name, 2, [PLACE], "worker")[PLACE]
    step = Advance(*PLACE, claimed.epoch, 9, 10, None, None, 1)
    with engine.begin() as conn:
        progress.advance(conn, name, 2, [step])
    assert promote(engine, {name: 2}, who="test").changed
    assert states(engine, name) == {1: State.STANDBY, 2: State.SERVING}
