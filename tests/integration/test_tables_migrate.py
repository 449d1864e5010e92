"""kappa's own tables are made by the migrations exactly as the code describes them."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from kappa.errors import MigrationNeeded
from kappa.tables import bookkeeping, cutover, migrate
from kappa.tables.engine import connect
from kappa.versions import timeline
from kappa.versions.lifecycle import State


@pytest.fixture
def fresh(database: str) -> Iterator[Engine]:
    """A database without any of kappa's tables."""
    engine = connect(database)
    yield engine
    engine.dispose()


ALL = ("0001", "0002", "0003", "0004", bookkeeping.REVISION)


def test_the_migrations_make_what_the_code_describes(engine: Engine) -> None:
    with engine.connect() as conn:
        options = {"version_table": bookkeeping.VERSION_TABLE, "compare_server_default": True}
        context = MigrationContext.configure(conn, opts=options)
        ours = [
            change
            for change in compare_metadata(context, cutover.metadata)
            if "kappa_" in repr(change)
        ]
        fill = text("SELECT reloptions FROM pg_class WHERE relname = 'kappa_offset'")
        assert conn.scalar(fill) == ["fillfactor=40"]
    assert ours == []


def test_upgrading_again_does_nothing(fresh: Engine) -> None:
    assert migrate.upgrade(fresh) == ALL
    assert migrate.upgrade(fresh) == ()
    with fresh.connect() as conn:
        bookkeeping.require_current(conn)
        assert migrate.pending(conn) == ()


def test_versions_from_before_the_timeline_have_one_since(fresh: Engine) -> None:
    with fresh.begin() as conn:
        config = migrate._config()
        config.attributes["connection"] = conn
        command.upgrade(config, "0003")
        conn.execute(text("INSERT INTO kappa_processor (name) VALUES ('old')"))
        conn.execute(
            text(
                "INSERT INTO kappa_version (processor, version, state, fingerprint, declaration)"
                " VALUES ('old', 1, 'standby', 'f', '{}')"
            )
        )
    migrate.upgrade(fresh)
    with fresh.connect() as conn:
        (step,) = timeline.read(conn, "old")
    assert (step.from_state, step.to_state, step.offsets) == (None, State.STANDBY, ())


def test_upgrades_at_once_are_safe(fresh: Engine) -> None:
    done: list[tuple[str, ...]] = []
    threads = [Thread(target=lambda: done.append(migrate.upgrade(fresh))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [(), (), ALL]


def test_a_database_without_tables_says_what_to_do(fresh: Engine) -> None:
    with fresh.connect() as conn, pytest.raises(MigrationNeeded) as caught:
        bookkeeping.require_current(conn)
    assert "kappa db upgrade" in caught.value.hint


@pytest.mark.parametrize(
    ("found", "hint"), [("0000", "kappa db upgrade"), ("9999", "upgrade kappa")]
)
def test_older_and_newer_tables_are_refused(fresh: Engine, found: str, hint: str) -> None:
    migrate.upgrade(fresh)
    with fresh.begin() as conn:
        conn.execute(text("UPDATE kappa_alembic_version SET version_num = :v"), {"v": found})
    with fresh.connect() as conn, pytest.raises(MigrationNeeded) as caught:
        bookkeeping.require_current(conn)
    assert hint in caught.value.hint


def test_a_newer_database_is_not_touched(fresh: Engine) -> None:
    migrate.upgrade(fresh)
    with fresh.begin() as conn:
        conn.execute(text("UPDATE kappa_alembic_version SET version_num = '9999'"))
    with pytest.raises(MigrationNeeded):
        migrate.upgrade(fresh)
