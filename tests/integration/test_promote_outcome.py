"""A promote loses its connection: most often in the COMMIT, and the history has to say what came
of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, event, text

from kappa.errors import DatabaseUnavailable
from kappa.tables.engine import connect, driver
from kappa.versions import outcome
from kappa.versions.deployment import Action
from kappa.versions.lifecycle import State
from kappa.versions.promote import promote
from tests.faults import wait_until
from tests.integration.postgres_proxy import CommitProxy
from tests.integration.tables_scenes import items, ready
from tests.integration.test_promote import active, states

Unique = Callable[[str], str]
ACTIONS = pytest.mark.parametrize("action", Action)


@pytest.fixture
def pair(engine: Engine, unique: Unique) -> tuple[str, str]:
    """Two processors, each with a version 1 that serves and a version 2 that is as far."""
    names = unique("one"), unique("two")
    for name in names:
        for version in (1, 2):
            ready(engine, items(name, version), [10])
    promote(engine, dict.fromkeys(names, 1), who="test")
    return names


@contextmanager
def lossy(engine: Engine) -> Iterator[tuple[Engine, CommitProxy]]:
    """Another way to the same database, on which the COMMIT of a swap is cut."""
    with CommitProxy(engine, most=1) as proxy:
        proxied = connect(proxy.url)
        yield proxied, proxy
        proxied.dispose()
    assert proxy.cuts == 1


@ACTIONS
def test_of_several_views_each_is_told_to_have_moved(
    engine: Engine, pair: tuple[str, str], action: Action
) -> None:
    with lossy(engine) as (proxied, proxy):
        proxy.cut = "answer"
        done = promote(proxied, dict.fromkeys(pair, 2), who="test", action=action)
    assert [(move.processor, move.changed) for move in done.moves] == [
        (name, True) for name in sorted(pair)
    ]
    assert [[at.next_offset for at in move.offsets] for move in done.moves] == [[10], [10]]
    assert [active(engine, name) for name in pair] == [2, 2]


@ACTIONS
def test_of_several_views_none_has_moved_where_the_commit_was_lost(
    engine: Engine, pair: tuple[str, str], action: Action
) -> None:
    with lossy(engine) as (proxied, proxy):
        proxy.cut = "commit"
        with pytest.raises(DatabaseUnavailable) as caught:
            promote(proxied, dict.fromkeys(pair, 2), who="test", action=action)
    assert "outcome" not in caught.value.detail
    assert [active(engine, name) for name in pair] == [1, 1]
    assert promote(engine, dict.fromkeys(pair, 2), who="test", action=action).changed


@ACTIONS
def test_a_database_that_stays_away_leaves_it_unknown(
    engine: Engine, pair: tuple[str, str], action: Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has happened; run again, the command says so."""
    monkeypatch.setattr(outcome, "_SETTLE_S", 0.2)
    deployment = uuid4()
    with lossy(engine) as (proxied, proxy):
        proxy.cut = "all"
        with pytest.raises(DatabaseUnavailable, match=f"lost in a {action.value}") as caught:
            promote(
                proxied,
                dict.fromkeys(pair, 2),
                who="test",
                action=action,
                deployment_id=deployment,
            )
    assert caught.value.detail["outcome"] == "unknown"
    assert caught.value.detail["deployment_id"] == deployment
    assert "run it again" in caught.value.hint
    again = promote(engine, dict.fromkeys(pair, 2), who="test", action=action)
    assert not again.changed
    assert [active(engine, name) for name in pair] == [2, 2]


def test_a_commit_that_takes_too_long_leaves_it_unknown(
    engine: Engine, pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is through, its locks keep everybody from reading what it did."""
    monkeypatch.setattr(outcome, "_SETTLE_S", 0.2)
    name = pair[0]
    late = Event()
    with lossy(engine) as (proxied, proxy):
        proxy.cut = lambda: _wait(late)
        with pytest.raises(DatabaseUnavailable) as caught:
            promote(proxied, {name: 2}, who="test")
        assert caught.value.detail["outcome"] == "unknown"
        assert states(engine, name) == {1: State.SERVING, 2: State.READY}
        late.set()
    assert not promote(engine, {name: 2}, who="test").changed
    assert states(engine, name) == {1: State.STANDBY, 2: State.SERVING}


def test_a_connection_that_is_lost_in_the_preflight_is_no_refusal(
    engine: Engine, pair: tuple[str, str]
) -> None:
    """It is ended between two statements that ask what speaks against the promote."""
    lost: list[int] = []

    def end(conn: Connection, *_: object) -> None:
        if not lost and conn.in_nested_transaction():
            lost.append(driver(conn).info.backend_pid)
            _end_session(engine, lost[0])

    event.listen(engine, "before_cursor_execute", end)
    try:
        with pytest.raises(DatabaseUnavailable):
            promote(engine, dict.fromkeys(pair, 2), who="test")
    finally:
        event.remove(engine, "before_cursor_execute", end)
    assert lost
    assert [active(engine, name) for name in pair] == [1, 1]
    assert promote(engine, dict.fromkeys(pair, 2), who="test").changed


def _end_session(engine: Engine, pid: int) -> None:
    def has_ended() -> bool:
        there = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :p")
        with engine.connect() as conn:
            return conn.scalar(there, {"p": pid}) == 0

    with engine.begin() as conn:
        conn.execute(text("SELECT pg_terminate_backend(:p)"), {"p": pid})
    wait_until("the session has ended", has_ended)


def _wait(late: Event) -> None:
    assert late.wait(60)
