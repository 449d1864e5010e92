"""A promote moves the view if, and only if, its readers' time cannot go back."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from kappa.errors import (
    Fenced,
    IllegalTransition,
    NameTaken,
    NotCaughtUp,
    TopicRecreated,
    UnknownVersion,
    ViewIncompatible,
)
from kappa.tables import progress, sink
from kappa.tables.progress import Advance, NewPartition
from kappa.versions import records
from kappa.versions.deployment import Moved
from kappa.versions.lifecycle import State
from kappa.versions.promote import Persistence, Promoted, promote
from tests.integration.tables_scenes import (
    declare,
    item_rows,
    items,
    move_to,
    ready,
    register,
)

Unique = Callable[[str], str]


def states(engine: Engine, name: str) -> dict[int, State]:
    with engine.begin() as conn:
        return {record.version: record.state for record in records.list_versions(conn, name)}


def active(engine: Engine, name: str) -> int | None:
    with engine.begin() as conn:
        found = records.find_processor(conn, name)
    assert found is not None
    return found.active_version


def shown(engine: Engine, name: str) -> int:
    """Which version wrote what the view shows."""
    with engine.begin() as conn:
        return int(conn.scalar(text(f"SELECT max(id) FROM {name}")) or 0)


def go(engine: Engine, name: str, version: int) -> Promoted:
    impatient = Persistence(deadline_s=1, unread_s=0, drain_after=None)
    return promote(engine, {name: version}, who="test", persistence=impatient)


def move(done: Promoted) -> Moved:
    """The only one."""
    (one,) = done.moves
    return one


@pytest.fixture
def blue(engine: Engine, unique: Unique) -> str:
    """A processor whose version 1 serves, at offsets 10 and 20."""
    layout = ready(engine, items(unique("promote")), [10, 20])
    with engine.begin() as conn:
        sink.upsert(conn, layout, item_rows(layout, 1))
    go(engine, layout.processor, 1)
    return layout.processor


def green(engine: Engine, name: str, offsets: list[int], version: int = 2) -> None:
    layout = ready(engine, items(name, version), offsets)
    with engine.begin() as conn:
        sink.upsert(conn, layout, item_rows(layout, 1))


def test_the_first_promote_makes_the_view(engine: Engine, unique: Unique) -> None:
    layout = ready(engine, items(unique("first")), [3])
    done = go(engine, layout.processor, 1)
    one = move(done)
    assert (one.from_version, one.to_version, done.changed, done.attempts) == (None, 1, True, 1)
    assert [(at.topic, at.partition, at.next_offset) for at in one.offsets] == [("t", 0, 3)]
    assert states(engine, layout.processor) == {1: State.SERVING}
    assert active(engine, layout.processor) == 1
    assert shown(engine, layout.processor) == 0


def test_the_next_takes_over_and_the_old_one_stands_by(engine: Engine, blue: str) -> None:
    green(engine, blue, [10, 25])
    assert shown(engine, blue) == 1
    done = move(go(engine, blue, 2))
    assert (done.from_version, done.to_version) == (1, 2)
    assert shown(engine, blue) == 2
    assert states(engine, blue) == {1: State.STANDBY, 2: State.SERVING}


def test_what_was_done_is_in_the_history(engine: Engine, blue: str) -> None:
    green(engine, blue, [10, 20])
    deployment = uuid4()
    promote(engine, {blue: 2}, who="ann", deployment_id=deployment)
    with engine.begin() as conn:
        row = conn.execute(
            text("SELECT * FROM kappa_history WHERE deployment_id = :d"), {"d": deployment}
        ).one()
    assert (row.processor, row.action, row.from_version, row.to_version, row.who) == (
        blue,
        "promote",
        1,
        2,
        "ann",
    )
    assert [at["next_offset"] for at in row.offsets] == [10, 20]


def test_going_back_is_the_same_promote(engine: Engine, blue: str) -> None:
    green(engine, blue, [10, 20])
    go(engine, blue, 2)
    move_to(engine, items(blue, 2), [11, 20])
    with pytest.raises(NotCaughtUp):
        go(engine, blue, 1)
    move_to(engine, items(blue, 1), [11, 20])
    go(engine, blue, 1)
    assert states(engine, blue) == {1: State.SERVING, 2: State.STANDBY}
    assert shown(engine, blue) == 1


@pytest.mark.parametrize(
    ("offsets", "partition", "served"),
    [([9, 20], 0, 10), ([10, 19], 1, 20), ([10], 1, 20), ([11, 0], 1, 20)],
)
def test_behind_in_one_partition_is_behind(
    engine: Engine, blue: str, offsets: list[int], partition: int, served: int
) -> None:
    green(engine, blue, offsets)
    with pytest.raises(NotCaughtUp) as caught:
        go(engine, blue, 2)
    assert caught.value.detail["topic"] == "t"
    assert (caught.value.detail["partition"], caught.value.detail["served"]) == (partition, served)
    assert caught.value.hint == f"kappa replay {blue} --version 2"
    assert shown(engine, blue) == 1
    assert states(engine, blue) == {1: State.SERVING, 2: State.READY}


def test_what_was_served_once_binds_even_after_its_version_is_gone(
    engine: Engine, blue: str
) -> None:
    """Version 2 had served further than anything that is left."""
    green(engine, blue, [50, 50])
    go(engine, blue, 2)
    green(engine, blue, [40, 60], version=3)
    with engine.begin() as conn:
        conn.execute(
            text("DELETE FROM kappa_offset WHERE processor = :p AND version = 2"), {"p": blue}
        )
    with pytest.raises(NotCaughtUp) as caught:
        go(engine, blue, 3)
    assert (caught.value.detail["offset"], caught.value.detail["served"]) == (40, 50)


def test_another_topic_of_the_same_name_is_no_successor(engine: Engine, blue: str) -> None:
    layout = items(blue, 2)
    with engine.begin() as conn:
        declare(conn, layout)
        new = [NewPartition("t", number, "recreated", 99) for number in range(2)]
        progress.register(conn, blue, 2, new)
        records.transition(conn, blue, 2, State.READY)
    with pytest.raises(TopicRecreated):
        go(engine, blue, 2)


def test_a_new_partition_is_welcome(engine: Engine, blue: str) -> None:
    green(engine, blue, [10, 20, 5])
    assert len(move(go(engine, blue, 2)).offsets) == 3


def test_epochs_move_on_and_a_zombie_cannot_commit(engine: Engine, blue: str) -> None:
    """It claimed before the swap, holds a batch in memory, and wakes after it."""
    with engine.begin() as conn:
        before = progress.claim(conn, blue, 1, [("t", 0)], "zombie")["t", 0]
    green(engine, blue, [10, 20])
    go(engine, blue, 2)
    step = Advance("t", 0, before.epoch, 10, 11, None, None, 1)
    with pytest.raises(Fenced), engine.begin() as conn:
        progress.advance(conn, blue, 1, [step])
    with engine.begin() as conn:
        row = conn.execute(text("SELECT epoch FROM kappa_processor WHERE name = :n"), {"n": blue})
        assert row.scalar_one() == 2
        again = progress.claim(conn, blue, 1, [("t", 0)], "worker")["t", 0]
        assert again.epoch == before.epoch + 2


def test_promoting_what_serves_changes_nothing(engine: Engine, blue: str) -> None:
    done = go(engine, blue, 1)
    assert (done.changed, done.deployment_id, move(done).from_version) == (False, None, 1)
    with engine.begin() as conn:
        count = text("SELECT count(*) FROM kappa_history WHERE processor = :p")
        assert conn.scalar(count, {"p": blue}) == 1


def test_a_version_that_was_never_built(engine: Engine, blue: str, unique: Unique) -> None:
    with pytest.raises(UnknownVersion) as caught:
        go(engine, blue, 9)
    assert caught.value.detail["known"] == "1"
    with pytest.raises(UnknownVersion):
        go(engine, unique("never"), 1)


@pytest.mark.parametrize("state", [State.BUILDING, State.FAILED, State.RETIRED])
def test_only_a_ready_version_can_serve(engine: Engine, blue: str, state: State) -> None:
    layout = items(blue, 2)
    with engine.begin() as conn:
        declare(conn, layout)
        register(conn, layout, [10, 20])
        if state is not State.BUILDING:
            records.transition(conn, blue, 2, state)
    with pytest.raises(IllegalTransition, match=state.value) as caught:
        go(engine, blue, 2)
    assert ("kappa replay" in caught.value.hint) == (state is not State.RETIRED)


def test_a_view_that_would_change_is_refused_and_nothing_else_happens(
    engine: Engine, blue: str
) -> None:
    ready(engine, items(blue, 2, ["id", "total"]), [10, 20])
    with pytest.raises(ViewIncompatible) as caught:
        go(engine, blue, 2)
    assert caught.value.detail["column"] == "amount"
    assert states(engine, blue) == {1: State.SERVING, 2: State.READY}
    assert active(engine, blue) == 1


def test_a_foreign_relation_under_the_views_name_is_left_alone(
    engine: Engine, unique: Unique
) -> None:
    layout = ready(engine, items(unique("foreign")), [1])
    with engine.begin() as conn:
        conn.execute(text(f"CREATE TABLE {layout.view_name} (id bigint)"))
    with pytest.raises(NameTaken):
        go(engine, layout.processor, 1)
    assert states(engine, layout.processor) == {1: State.READY}


def test_a_view_that_somebody_dropped_is_made_again(engine: Engine, blue: str) -> None:
    green(engine, blue, [10, 20])
    with engine.begin() as conn:
        conn.execute(text(f"DROP VIEW {blue}"))
    go(engine, blue, 2)
    assert shown(engine, blue) == 2


def test_deployment_ids_are_fresh_unless_given(engine: Engine, blue: str) -> None:
    green(engine, blue, [10, 20])
    first = go(engine, blue, 2).deployment_id
    move_to(engine, items(blue, 1), [10, 20])
    second = go(engine, blue, 1).deployment_id
    assert isinstance(first, UUID)
    assert first != second
