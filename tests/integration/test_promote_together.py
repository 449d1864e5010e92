"""Several processors are promoted in one transaction, or none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from threading import Event, Thread

import psycopg
import pytest
from sqlalchemy import Engine, text

from kappa.errors import (
    DiffMissing,
    IllegalTransition,
    KappaError,
    NotCaughtUp,
    OldSnapshot,
    RelationGone,
    SourceDropped,
)
from kappa.tables import finality, progress, sink, snapshots
from kappa.tables.finality import Finality
from kappa.tables.progress import NewPartition
from kappa.versions.comparisons import Allowance, compare
from kappa.versions.deployment import Action, Move, Options
from kappa.versions.lifecycle import State
from kappa.versions.promote import Persistence, examine, promote
from kappa.versions.rollback import back
from tests.faults import Site
from tests.integration.tables_scenes import item_rows, items, move_to, ready, revenue, set_final
from tests.integration.test_promote import active, shown, states

Unique = Callable[[str], str]
IMPATIENT = Persistence(deadline_s=0.2, unread_s=0, drain_after=None)


@pytest.fixture
def pair(engine: Engine, unique: Unique) -> tuple[str, str]:
    """Two processors, each with a version 1 that serves and a version 2 that is as far."""
    names = unique("one"), unique("two")
    for name in names:
        for version in (1, 2):
            layout = ready(engine, items(name, version), [10])
            with engine.begin() as conn:
                sink.upsert(conn, layout, item_rows(layout, 1))
    promote(engine, dict.fromkeys(names, 1), who="test")
    return names


def test_no_query_sees_one_new_and_one_old(engine: Engine, pair: tuple[str, str]) -> None:
    seen: set[tuple[int, int]] = set()
    errors: list[KappaError] = []
    over = Event()
    both = text(f"SELECT (SELECT max(id) FROM {pair[1]}), (SELECT max(id) FROM {pair[0]})")

    def poll() -> None:
        try:
            while not over.is_set():
                with engine.begin() as conn:
                    row = conn.execute(both).one()
                    seen.add((row[0], row[1]))
        except KappaError as error:
            errors.append(error)

    readers = [Thread(target=poll) for _ in range(3)]
    for reader in readers:
        reader.start()
    for version in (2, 1) * 10:
        promote(engine, dict.fromkeys(pair, version), who="test")
    over.set()
    for reader in readers:
        reader.join()
    assert errors == []
    assert seen <= {(1, 1), (2, 2)}
    assert seen


def test_one_that_is_behind_keeps_the_other_back(engine: Engine, pair: tuple[str, str]) -> None:
    ready(engine, items(pair[1], 3), [9])
    with pytest.raises(NotCaughtUp):
        promote(engine, {pair[0]: 2, pair[1]: 3}, who="test", persistence=IMPATIENT)
    assert [active(engine, name) for name in pair] == [1, 1]
    assert states(engine, pair[0]) == {1: State.SERVING, 2: State.READY}


def test_one_that_serves_already_does_not_keep_the_other_back(
    engine: Engine, pair: tuple[str, str]
) -> None:
    done = promote(engine, {pair[0]: 1, pair[1]: 2}, who="test")
    assert [move.changed for move in done.moves] == [False, True]
    assert [active(engine, name) for name in pair] == [1, 2]


def test_the_history_has_a_row_for_each_and_a_rollback_goes_back(
    engine: Engine, pair: tuple[str, str]
) -> None:
    done = promote(engine, dict.fromkeys(pair, 2), who="test")
    with engine.connect() as conn:
        rows = conn.execute(
            text("SELECT processor, action FROM kappa_history WHERE deployment_id = :d"),
            {"d": done.deployment_id},
        )
        assert sorted(map(tuple, rows)) == [(name, "promote") for name in sorted(pair)]
        assert [back(conn, name) for name in pair] == [Move(name, 2, 1) for name in pair]
    promote(engine, dict.fromkeys(pair, 1), who="test", action=Action.ROLLBACK)
    assert [shown(engine, name) for name in pair] == [1, 1]
    with engine.connect() as conn, pytest.raises(IllegalTransition, match="already"):
        back(conn, pair[0])


def test_a_rollback_goes_back_from_the_version_it_was_asked_for(
    engine: Engine, pair: tuple[str, str]
) -> None:
    """Somebody promotes version 3 after it was decided to go back from 2 to 1."""
    name = pair[0]
    promote(engine, {name: 2}, who="test")
    with engine.connect() as conn:
        wanted = back(conn, name)
    ready(engine, items(name, 3), [10])
    promote(engine, {name: 3}, who="somebody else")
    go = partial(promote, engine, {name: wanted.to_version}, who="test", action=Action.ROLLBACK)
    with pytest.raises(IllegalTransition, match="version 3 was promoted meanwhile"):
        go(serving={name: wanted.from_version})
    assert active(engine, name) == 3
    promote(engine, {name: 1}, who="somebody else")
    assert not go(serving={name: wanted.from_version}).changed, "it is where it was to go"


def test_a_plan_says_all_and_changes_nothing(engine: Engine, pair: tuple[str, str]) -> None:
    ready(engine, items(pair[1], 3, ["id", "total"]), [9])
    with engine.begin() as conn:
        conn.execute(text(f"CREATE VIEW over_{pair[0]} AS SELECT id FROM {pair[0]}"))
    plan = {one.move.processor: one for one in examine(engine, {pair[0]: 2, pair[1]: 3}, Options())}
    good, bad = plan[pair[0]], plan[pair[1]]
    assert (good.refusal, good.behind) == (None, None)
    assert [(lag.from_offset, lag.to_offset, lag.behind) for lag in good.lags] == [(10, 10, 0)]
    assert good.dependents == (f"over_{pair[0]}",)
    assert f"{pair[0]}__v2" in good.statements[0]
    assert bad.refusal is not None
    assert bad.refusal.detail["column"] == "amount"
    assert [lag.behind for lag in bad.lags] == [1]
    assert [active(engine, name) for name in pair] == [1, 1]


def test_a_topic_that_is_no_longer_read_is_dropped_only_if_that_is_meant(
    engine: Engine, unique: Unique
) -> None:
    name = unique("dropped")
    ready(engine, items(name, 1), [10])
    with engine.begin() as conn:
        progress.register(conn, name, 1, [NewPartition("other", 0, "its id", 5)])
    promote(engine, {name: 1}, who="test")
    ready(engine, items(name, 2), [10])
    with pytest.raises(SourceDropped) as caught:
        promote(engine, {name: 2}, who="test")
    assert caught.value.detail["topic"] == "other"
    move_to(engine, items(name, 1), [11])
    behind = Options(dropped_sources=frozenset({"other", "t"}))
    with pytest.raises(NotCaughtUp):
        promote(engine, {name: 2}, who="test", options=behind, persistence=IMPATIENT)
    move_to(engine, items(name, 2), [11])
    options = Options(dropped_sources=frozenset({"other"}))
    done = promote(engine, {name: 2}, who="test", options=options)
    with engine.connect() as conn:
        detail = conn.scalar(
            text("SELECT detail FROM kappa_history WHERE deployment_id = :d"),
            {"d": done.deployment_id},
        )
    assert detail == {"dropped_sources": ["other"]}
    ready(engine, items(name, 3), [11])
    assert promote(engine, {name: 3}, who="test").changed, "it is forgotten for good"


def test_a_reader_older_than_the_promote_is_waited_for(
    engine: Engine, pair: tuple[str, str]
) -> None:
    """In REPEATABLE READ it would find the new table as empty as it was.

    reader    ─┤ snapshot ├────────── reads the view: version 1, whose rows it sees
    version 3 ──────────────┤ rows ├─ that it does not see
    """
    other = engine.execution_options(isolation_level="REPEATABLE READ")
    with other.connect() as reader:
        reader.execute(text("SET application_name = 'a report'"))
        reader.execute(text(f"SELECT count(*) FROM {pair[0]}"))
        layout = ready(engine, items(pair[0], 3), [10])
        with engine.begin() as conn:
            sink.upsert(conn, layout, item_rows(layout, 1))
        (plan,) = examine(engine, {pair[0]: 3}, Options())
        assert plan.refusal is None
        assert plan.held_up is not None
        assert plan.held_up.detail["application"] == "a report"
        (plan,) = examine(engine, {pair[0]: 3}, Options(ignore_snapshots=True))
        assert plan.held_up is None
        with pytest.raises(OldSnapshot) as caught:
            promote(engine, {pair[0]: 3}, who="test", persistence=IMPATIENT)
        assert caught.value.detail["application"] == "a report"
        assert active(engine, pair[0]) == 1
        reader.rollback()
        reader.execute(text("SET application_name = 'kappa'"))
        reader.commit()
    assert promote(engine, {pair[0]: 3}, who="test").changed


def test_a_comparison_can_be_required(engine: Engine, pair: tuple[str, str]) -> None:
    name = pair[0]
    options = Options(require_diff=True)

    def compared(allowance: Allowance) -> None:
        compare(engine, name, 1, 2, who="test", allowance=allowance, most_samples=1, timeout_s=10)

    with pytest.raises(DiffMissing, match="never compared"):
        promote(engine, {name: 2}, who="test", options=options)
    compared(Allowance())
    with pytest.raises(DiffMissing, match="differs by more"):
        promote(engine, {name: 2}, who="test", options=options)
    compared(Allowance(expect=True))
    with engine.begin() as conn:
        conn.execute(
            text("UPDATE kappa_version SET fingerprint = 'g' WHERE processor = :n AND version = 2"),
            {"n": name},
        )
    with pytest.raises(DiffMissing, match="other code"):
        promote(engine, {name: 2}, who="test", options=options)
    compared(Allowance(expect=True))
    assert promote(engine, {name: 2}, who="test", options=options).changed


def test_a_reader_of_another_role_is_seen_by_an_ordinary_one(
    engine: Engine, site: Site, unique: Unique
) -> None:
    """What a role may not know of another's session must not hide that it is there."""
    mine, theirs = unique("mine"), unique("theirs")
    url = site.settings.postgres.url.get_secret_value()
    with engine.begin() as conn:
        for role in (mine, theirs):
            conn.execute(text(f"CREATE ROLE {role}"))
    try:
        with (
            psycopg.connect(url, autocommit=True) as us,
            psycopg.connect(url, application_name="a report") as reader,
        ):
            reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            reader.execute(f"SET SESSION AUTHORIZATION {theirs}")
            reader.execute("SELECT 1")
            us.execute("CREATE TABLE IF NOT EXISTS moves_xid (id int)")
            seen = "SELECT backend_type FROM pg_stat_activity WHERE application_name = 'a report'"
            us.execute(f"SET SESSION AUTHORIZATION {mine}")
            assert us.execute(seen).fetchall() == [(None,)], "it is hidden from us"
            us.execute("RESET SESSION AUTHORIZATION")
            with engine.connect() as conn:
                conn.execute(text(f"SET SESSION AUTHORIZATION {mine}"))
                found = snapshots.older(conn, snapshots.now(conn))
                # An autovacuum worker, as we see it: of no role, and of a hidden type.
                conn.execute(
                    text(
                        "CREATE TEMP TABLE pg_stat_activity AS SELECT * FROM pg_stat_activity"
                        " WHERE application_name = 'a report'"
                    )
                )
                conn.execute(text("SET LOCAL search_path = pg_temp, pg_catalog"))
                alone = snapshots.older(conn, snapshots.now(conn))
                conn.execute(text("UPDATE pg_stat_activity SET usesysid = NULL, usename = NULL"))
                vacuum = snapshots.older(conn, snapshots.now(conn))
                conn.rollback()
                conn.execute(text("RESET SESSION AUTHORIZATION"))
            assert [one.application for one in found] == ["a report"]
            assert [len(alone), len(vacuum)] == [1, 0]
    finally:
        with engine.begin() as conn:
            conn.execute(text("DROP TABLE IF EXISTS moves_xid"))
            for role in (mine, theirs):
                conn.execute(text(f"DROP ROLE {role}"))


def final(engine: Engine, name: str, version: int, hour: int) -> None:
    """A version that is built, and whose windows are final up to this hour."""
    ready(engine, replace(revenue(name, version), finality=Finality(0, hides=True)), [10])
    set_final(engine, name, version, f"2024-01-01 {hour}:00+00")


def final_through(engine: Engine, name: str, version: int) -> int:
    with engine.connect() as conn:
        through = finality.read(conn, name, version).through
    assert through is not None
    return through.hour


def test_what_readers_have_seen_as_final_stays(engine: Engine, unique: Unique) -> None:
    """Offsets are equal; but by its own lateness version 2 is final less far, and 3 further.

    hour            10    11    12    13
    version 1 ──────────────────┤
    version 2 ──────┤┄┄┄┄┄┄┄┄┄┄┄┤ carried on
    version 3 ────────────────────────┤
    """
    name = unique("final")
    for version, hour in ((1, 12), (2, 10), (3, 13)):
        final(engine, name, version, hour)
    promote(engine, {name: 1}, who="test")
    (plan,) = examine(engine, {name: 2}, Options())
    assert (plan.refusal, plan.behind) == (None, None)
    for version, hour in ((2, 12), (3, 13), (2, 13)):
        promote(engine, {name: version}, who="test")
        assert final_through(engine, name, version) == hour
    assert final_through(engine, name, 1) == 12


def test_nothing_is_carried_on_from_a_source_that_is_given_up(
    engine: Engine, unique: Unique
) -> None:
    name = unique("final")
    final(engine, name, 1, 12)
    with engine.begin() as conn:
        progress.register(conn, name, 1, [NewPartition("other", 0, "its id", 5)])
    promote(engine, {name: 1}, who="test")
    final(engine, name, 2, 10)
    options = Options(dropped_sources=frozenset({"other"}))
    promote(engine, {name: 2}, who="test", options=options)
    assert final_through(engine, name, 2) == 10


def test_a_plan_for_a_version_whose_table_is_gone_says_that(
    engine: Engine, pair: tuple[str, str]
) -> None:
    """As if it were retired between two looks."""
    with engine.begin() as conn:
        conn.execute(text(f"DROP TABLE {pair[0]}__v2"))
    (plan,) = examine(engine, {pair[0]: 2}, Options())
    assert isinstance(plan.refusal, RelationGone)
    assert plan.dependents == ()
