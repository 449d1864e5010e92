"""Sessions are set up alike, and every error of the database is one of kappa's."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier, Thread
from typing import NoReturn

import pytest
from sqlalchemy import Connection, Engine, text

from kappa.errors import (
    ConfigError,
    DatabaseUnavailable,
    DataRefused,
    Deadlock,
    KappaError,
    LockTimeout,
    TableError,
)
from kappa.tables.engine import connect

Unique = Callable[[str], str]
CANARY = "s3cret-c4nary"


def test_a_session_is_set_up(engine: Engine) -> None:
    with engine.connect() as conn:
        shown = {
            name: conn.scalar(text(f"SHOW {name}"))
            for name in (
                "TimeZone",
                "application_name",
                "client_encoding",
                "transaction_isolation",
                "idle_in_transaction_session_timeout",
            )
        }
    assert shown == {
        "TimeZone": "UTC",
        "application_name": "kappa",
        "client_encoding": "UTF8",
        "transaction_isolation": "read committed",
        "idle_in_transaction_session_timeout": "30s",
    }


def test_one_thread_keeps_its_session(engine: Engine) -> None:
    pids = set()
    for _ in range(5):
        with engine.begin() as conn:
            pids.add(conn.scalar(text("SELECT pg_backend_pid()")))
    assert len(pids) == 1


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{CANARY}@127.0.0.1:1/db",
        f"postgresql://127.0.0.1:1/db?user=u&password={CANARY}",
        f"postgresql://u:{CANARY}@nowhere.invalid/db",
        f"host=127.0.0.1 port=1 dbname=db user=u password={CANARY}",
        f"postgresql://u:{CANARY}@127.0.0.1:port/db",
    ],
)
def test_no_server_answers(url: str) -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        connect(url).connect()
    said = f"{caught.value!r} {caught.value} {caught.value.hint} {caught.value.__cause__}"
    assert CANARY not in said
    assert caught.value.hint
    assert "/db" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{CANARY}@[::1/db",
        f"postgresql://u:{CANARY}@host/%zz",
        f"postgresql://host/db?nothing={CANARY}",
        "nonsense",
    ],
)
def test_what_is_no_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        connect(url).connect()
    assert CANARY not in f"{caught.value!r} {caught.value.__cause__}"
    assert caught.value.__suppress_context__


def test_an_unknown_database_is_unavailable(engine: Engine) -> None:
    with engine.connect() as conn:
        host = conn.connection.driver_connection.info.host  # type: ignore[union-attr]
        port = conn.connection.driver_connection.info.port  # type: ignore[union-attr]
    with pytest.raises(DatabaseUnavailable, match="no_such"):
        connect(f"host={host} port={port} user=postgres dbname=no_such").connect()


def test_a_session_ended_by_the_server(engine: Engine) -> None:
    with engine.connect() as conn:
        pid = conn.scalar(text("SELECT pg_backend_pid()"))
        with engine.begin() as other:
            other.execute(text("SELECT pg_terminate_backend(:p)"), {"p": pid})
        with pytest.raises(DatabaseUnavailable):
            conn.execute(text("SELECT 1"))
    with engine.begin() as conn:
        assert conn.scalar(text("SELECT 1")) == 1


def test_a_session_that_ended_unused_is_replaced(engine: Engine) -> None:
    """As after a restart of the server: the pool holds sessions that are no more."""
    with engine.connect() as other:
        with engine.connect() as conn:
            pid = conn.scalar(text("SELECT pg_backend_pid()"))
        other.execute(text("SELECT pg_terminate_backend(:p, 5000)"), {"p": pid})
        with engine.connect() as conn:
            assert conn.scalar(text("SELECT pg_backend_pid()")) != pid


def test_a_session_that_idles_in_a_transaction_is_ended(engine: Engine) -> None:
    with engine.connect() as conn:
        setting = "set_config('idle_in_transaction_session_timeout', '1ms', false)"
        pid = conn.scalar(text(f"SELECT pg_backend_pid() FROM {setting}"))
        alive = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :p")
        with engine.connect() as other:
            while other.scalar(alive, {"p": pid}):
                other.rollback()
        with pytest.raises(DatabaseUnavailable):
            conn.execute(text("SELECT 1"))


def test_a_lock_that_is_held(engine: Engine, unique: Unique) -> None:
    table = unique("locked")
    with engine.begin() as conn:
        conn.execute(text(f"CREATE TABLE {table} (a int)"))
    with engine.begin() as holder, engine.connect() as other:
        holder.execute(text(f"LOCK TABLE {table}"))
        with pytest.raises(LockTimeout):
            other.execute(text(f"SET LOCAL lock_timeout = '1ms'; LOCK TABLE {table}"))


def test_a_deadlock_can_be_run_again(engine: Engine, unique: Unique) -> None:
    table = unique("dead")
    with engine.begin() as conn:
        conn.execute(text(f"CREATE TABLE {table} (a int); INSERT INTO {table} VALUES (1), (2)"))
    met, errors = Barrier(2), list[KappaError]()

    def lock(first: int, second: int) -> None:
        row = text(f"SELECT 1 FROM {table} WHERE a = :a FOR UPDATE")
        try:
            with engine.begin() as conn:
                conn.execute(text("SET LOCAL deadlock_timeout = '10ms'"))
                conn.execute(row, {"a": first})
                met.wait()
                conn.execute(row, {"a": second})
        except KappaError as error:
            errors.append(error)

    threads = [Thread(target=lock, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(error) for error in errors] == [Deadlock]


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELECT 1 / 0", DataRefused),
        ("SELECT 70000::smallint", DataRefused),
        ("SELECT FROM nothing_like_it", TableError),
        ("SELEC", TableError),
        ("SELECT pg_sleep(1)", TableError),
    ],
)
def test_every_error_is_kappas_and_keeps_its_cause(
    engine: Engine, statement: str, kind: type[KappaError]
) -> None:
    with engine.connect() as conn:
        conn.execute(text("SET LOCAL statement_timeout = '10ms'"))
        with pytest.raises(kind) as caught:
            conn.execute(text(statement))
    assert caught.value.__cause__ is not None
    assert caught.value.hint


def test_parameters_do_not_show(engine: Engine) -> None:
    with engine.connect() as conn, pytest.raises(TableError) as caught:
        conn.execute(text("SELECT 1 FROM nothing WHERE a = :secret"), {"secret": CANARY})
    assert CANARY not in f"{caught.value!r} {caught.value} {caught.value.__cause__}"


def test_a_program_error_inside_a_transaction_rolls_back(engine: Engine, unique: Unique) -> None:
    table = unique("half")

    def fail(conn: Connection) -> NoReturn:
        conn.execute(text(f"CREATE TABLE {table} (a int)"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), engine.begin() as conn:
        fail(conn)
    with engine.begin() as conn:
        assert conn.scalar(text("SELECT to_regclass(:t)"), {"t": table}) is None
