"""What is retired is gone for good, and only what nobody needs can be."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from threading import Thread

import pytest
from sqlalchemy import Engine, text

from kappa.errors import (
    Fenced,
    IllegalTransition,
    KappaError,
    LockTimeout,
    StillNeeded,
    UnknownVersion,
)
from kappa.runtime.worker.claiming import claim
from kappa.tables import progress
from kappa.tables.progress import Advance
from kappa.versions import records
from kappa.versions import retire as retiring
from kappa.versions.lifecycle import State
from kappa.versions.promote import Persistence, promote
from kappa.versions.retire import Retired, abort, retire
from tests.faults import beside, wait_until
from tests.integration.tables_scenes import (
    declare,
    exclusive_attempt,
    items,
    old_snapshot,
    ready,
    register,
    wait_until_blocked,
)
from tests.integration.test_promote import active, states

Unique = Callable[[str], str]


@pytest.fixture
def name(engine: Engine, unique: Unique) -> str:
    """Version 1 stands by, version 2 serves, version 3 is ready."""
    name = unique("retire")
    for version in (1, 2, 3):
        ready(engine, items(name, version), [10])
    for version in (1, 2):
        promote(engine, {name: version}, who="test")
    return name


def tables(engine: Engine, name: str) -> set[str]:
    with engine.connect() as conn:
        return set(
            conn.scalars(
                text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE :like"),
                {"like": f"{name}\\_\\_v%"},
            )
        )


def test_tables_go_and_the_number_is_never_used_again(engine: Engine, name: str) -> None:
    done = retire(engine, name, 3, who="ann")
    assert (done.state, done.changed, done.tables) == (State.READY, True, (f"{name}__v3",))
    assert states(engine, name)[3] is State.RETIRED
    assert tables(engine, name) == {f"{name}__v1", f"{name}__v2"}
    with pytest.raises(IllegalTransition, match="retired"), engine.begin() as conn:
        declare(conn, items(name, 3))


def test_once_more_does_no_harm_and_finds_what_was_left(engine: Engine, name: str) -> None:
    retire(engine, name, 3, who="ann")
    assert not retire(engine, name, 3, who="ann").changed
    with engine.begin() as conn:
        conn.execute(text(f"CREATE TABLE {name}__v3 (id bigint)"))
    assert retire(engine, name, 3, who="ann").tables == (f"{name}__v3",)


def test_what_serves_stays(engine: Engine, name: str) -> None:
    with pytest.raises(IllegalTransition, match="is what readers see"):
        retire(engine, name, 2, who="ann", force=True)
    assert f"{name}__v2" in tables(engine, name)


def test_what_served_lately_is_kept_for_a_rollback(engine: Engine, name: str) -> None:
    with pytest.raises(StillNeeded, match="served until"):
        retire(engine, name, 1, who="ann")
    with engine.begin() as conn:
        conn.execute(
            text(
                "UPDATE kappa_transition SET at = at - interval '25 hours'"
                " WHERE processor = :n AND to_state = 'standby'"
            ),
            {"n": name},
        )
    assert retire(engine, name, 1, who="ann").changed


def test_what_somebody_selects_from_stays(engine: Engine, name: str) -> None:
    with engine.begin() as conn:
        conn.execute(text(f"CREATE VIEW stray_{name} AS SELECT id FROM {name}__v1"))
    with pytest.raises(IllegalTransition) as caught:
        retire(engine, name, 1, who="ann", force=True)
    assert caught.value.detail["views"] == f"stray_{name}"
    assert states(engine, name)[1] is State.STANDBY
    assert f"{name}__v1" in tables(engine, name)


@pytest.mark.parametrize("version", [1, 3])
def test_retired_between_the_preflight_of_a_promote_and_its_swap(
    engine: Engine, name: str, version: int
) -> None:
    """The promote waits there for an old snapshot, and tells; the retire comes meanwhile."""
    retired: list[bool] = []
    with old_snapshot(engine) as reader:

        def meanwhile(said: str) -> None:
            assert "older than the promote" in said
            retired.append(retire(engine, name, version, who="ann", force=True).changed)
            reader.rollback()

        with pytest.raises(IllegalTransition, match="retired"):
            promote(engine, {name: version}, who="bob", listener=meanwhile)
    assert retired == [True]
    kept = {1: State.STANDBY, 2: State.SERVING, 3: State.READY}
    assert states(engine, name) == kept | {version: State.RETIRED}
    assert active(engine, name) == 2
    with engine.connect() as conn:
        assert conn.scalar(text(f"SELECT count(*) FROM {name}")) == 0
        moved = text("SELECT count(*) FROM kappa_history WHERE processor = :n")
        assert conn.scalar(moved, {"n": name}) == 2


def test_a_retire_waits_for_a_swap_that_is_under_way(engine: Engine, name: str) -> None:
    """The swap has all locks but that of the view. What it promotes is not retired afterwards;
    another version is.
    """
    refused: list[KappaError] = []
    done: list[bool] = []

    def refuse() -> None:
        try:
            retire(engine, name, 3, who="ann")
        except KappaError as error:
            refused.append(error)

    patient = Persistence(60_000)
    threads = [
        Thread(target=lambda: promote(engine, {name: 3}, who="bob", persistence=patient)),
        Thread(target=refuse),
        Thread(target=lambda: done.append(retire(engine, name, 1, who="ann", force=True).changed)),
    ]
    with engine.connect() as reader:
        reader.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        reader.execute(text(f"SELECT * FROM {name}"))
        for number, thread in enumerate(threads, start=1):
            thread.start()
            wait_until_blocked(engine, sessions=number)
        assert states(engine, name) == {1: State.STANDBY, 2: State.SERVING, 3: State.READY}
        reader.rollback()
    for thread in threads:
        thread.join()
    assert [type(error) for error in refused] == [IllegalTransition]
    assert "is what readers see" in refused[0].message
    assert done == [True]
    assert states(engine, name) == {1: State.RETIRED, 2: State.STANDBY, 3: State.SERVING}


def test_what_else_needs_a_table_stays_and_is_named(engine: Engine, name: str) -> None:
    """A function of its rows is no view, but would be gone with the table."""
    with engine.begin() as conn:
        conn.execute(
            text(
                f"CREATE FUNCTION stray_{name}(one {name}__v1) RETURNS bigint"
                " LANGUAGE sql AS 'SELECT one.id'"
            )
        )
    with pytest.raises(IllegalTransition, match="still in use") as caught:
        retire(engine, name, 1, who="ann", force=True)
    assert f"function stray_{name}({name}__v1)" in str(caught.value.detail["dependents"])
    assert caught.value.hint == "drop them first"
    assert states(engine, name)[1] is State.STANDBY
    with engine.begin() as conn:
        conn.execute(text(f"DROP FUNCTION stray_{name}"))
    assert retire(engine, name, 1, who="ann", force=True).changed


def test_who_holds_a_table_is_waited_for(engine: Engine, name: str) -> None:
    attempts: set[datetime] = set()
    done: list[Retired] = []

    def tried_again() -> bool:
        if attempt := exclusive_attempt(engine):
            attempts.add(attempt)
        return len(attempts) > 1

    with ExitStack() as stack, engine.connect() as reader:
        reader.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        reader.execute(text(f"SELECT * FROM {name}__v1"))
        stack.enter_context(
            beside(lambda _: done.append(retire(engine, name, 1, who="ann", force=True)))
        )
        wait_until("it is tried again", tried_again, 30, 0.001)
        assert states(engine, name)[1] is State.STANDBY
        reader.rollback()
    assert done[0].changed
    assert f"{name}__v1" not in tables(engine, name)


def test_who_holds_a_table_for_too_long_wins(
    engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing has changed then; its workers go on."""
    monkeypatch.setattr(retiring, "_DEADLINE_S", 0.1)
    held = claim(engine, name, 1, [("t", 0)], "worker")["t", 0]
    with engine.connect() as reader:
        reader.execute(text(f"SELECT * FROM {name}__v1"))
        with pytest.raises(LockTimeout):
            retire(engine, name, 1, who="ann", force=True)
        reader.rollback()
    assert states(engine, name)[1] is State.STANDBY
    assert f"{name}__v1" in tables(engine, name)
    step = Advance("t", 0, held.epoch, 10, 11, None, None, 1)
    with engine.begin() as conn:
        progress.advance(conn, name, 1, [step])


def test_a_worker_is_fenced_and_cannot_come_back(engine: Engine, name: str) -> None:
    held = claim(engine, name, 1, [("t", 0)], "worker")["t", 0]
    retire(engine, name, 1, who="ann", force=True)
    step = Advance("t", 0, held.epoch, 10, 11, None, None, 1)
    with pytest.raises(Fenced), engine.begin() as conn:
        progress.advance(conn, name, 1, [step])
    with pytest.raises(Fenced, match="retired"):
        claim(engine, name, 1, [("t", 0)], "worker")


def test_a_build_is_aborted_and_only_a_build(engine: Engine, name: str) -> None:
    with engine.begin() as conn:
        declare(conn, items(name, 4))
        register(conn, items(name, 4), [3])
    with pytest.raises(IllegalTransition, match="building"):
        retire(engine, name, 4, who="ann")
    assert abort(engine, name, 4, who="ann").tables == (f"{name}__v4",)
    assert not abort(engine, name, 4, who="ann").changed
    with pytest.raises(IllegalTransition, match="ready"):
        abort(engine, name, 3, who="ann")
    with pytest.raises(UnknownVersion):
        abort(engine, name, 9, who="ann")


def test_the_row_of_the_version_stays_with_its_timeline(engine: Engine, name: str) -> None:
    retire(engine, name, 3, who="ann")
    with engine.connect() as conn:
        record = records.require(conn, name, 3)
    assert record.retired_at is not None
    assert record.manifest is not None
