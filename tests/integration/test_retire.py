"""What is retired is gone for good, and only what nobody needs can be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from kappa.errors import Fenced, IllegalTransition, StillNeeded, UnknownVersion
from kappa.runtime.worker.claiming import claim
from kappa.tables import progress
from kappa.tables.progress import Advance
from kappa.versions import records
from kappa.versions.lifecycle import State
from kappa.versions.promote import promote
from kappa.versions.retire import abort, retire
from tests.integration.tables_scenes import declare, items, ready, register
from tests.integration.test_promote import states

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
