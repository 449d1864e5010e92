"""The one way to PostgreSQL, and the one edge where its errors become kappa's.

Errors of statements pass through `_on_error`; those raised inside COPY, which goes past
SQLAlchemy to the driver, through `translating`. Both end in `translate`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import Connection, Engine, create_engine, event, func, select
from sqlalchemy.engine import ExceptionContext

from kappa.errors import (
    ConfigError,
    DatabaseUnavailable,
    DataRefused,
    Deadlock,
    KappaError,
    LockTimeout,
    NameTaken,
    RelationGone,
    TableError,
)

OLDEST_SERVER = 150_000
"""PostgreSQL 15: keys with NULL need NULLS NOT DISTINCT."""

RETRYABLE = (DatabaseUnavailable, Deadlock, LockTimeout)
"""Errors after which the same transaction may succeed when it is run again."""

_CLIENT_SETTINGS = {
    "application_name": "kappa",
    "client_encoding": "utf8",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "tcp_user_timeout": "30000",
}

# Text forms are fixed as well as behaviour: a digest hashes the text of a row.
_SESSION_SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "default_transaction_isolation": "read committed",
    "idle_in_transaction_session_timeout": "30s",
    "tcp_user_timeout": "30s",
}


def connect(url: str) -> Engine:
    """An engine for a libpq URL (``postgresql://…``); connects on first use.

    Transactions are READ COMMITTED. A thread that runs one transaction after another is given
    the same session each time. Errors raised by the engine and its connections are kappa's.

    Raises:
        ConfigError: this is no PostgreSQL URL.
        DatabaseUnavailable: on first use, when no server answers or it refuses us.
        TableError: on first use, when the server is older than PostgreSQL 15.
    """
    conninfo = _conninfo(url)
    engine = create_engine(
        "postgresql+psycopg://",
        creator=_creator(conninfo),
        hide_parameters=True,
        pool_size=2,
        max_overflow=-1,
        pool_pre_ping=True,
        pool_use_lifo=True,
        use_native_hstore=False,
        json_serializer=_compact_json,
    )
    server = _server(conninfo)

    def _on_error(context: ExceptionContext) -> BaseException | None:
        # A failed ping only tells the pool to connect anew, by the driver's own error.
        if isinstance(context.original_exception, psycopg.Error) and not context.is_pre_ping:
            return translate(context.original_exception, server=server)
        return None

    event.listen(engine, "handle_error", _on_error, retval=True)
    return engine


@contextmanager
def translating() -> Iterator[None]:
    """Turns psycopg's errors inside the block into kappa's."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error


def driver(conn: Connection) -> psycopg.Connection[tuple[object, ...]]:
    """The psycopg connection underneath, in the same transaction; for COPY."""
    raw = conn.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    return raw


def set_lock_timeout(conn: Connection, milliseconds: int) -> None:
    """How long this transaction waits for a lock before LockTimeout is raised."""
    conn.execute(select(func.set_config("lock_timeout", f"{milliseconds}ms", True)))


def translate(error: psycopg.Error, *, server: str | None = None) -> KappaError:
    """The kappa error that says what this psycopg error means."""
    state = error.sqlstate or ""
    message = error.diag.message_primary or _first_line(error)
    if _is_unavailable(error, state):
        return DatabaseUnavailable(
            f"PostgreSQL is not available: {message}",
            server=server,
            sqlstate=state or None,
            hint="check that it runs and accepts the user and database of KAPPA_POSTGRES__URL",
        )
    if state == "55P03":
        return LockTimeout(
            "a lock was not free in time",
            sqlstate=state,
            hint="look in pg_stat_activity for a transaction that is open for long, then try again",
        )
    if state in ("40P01", "40001"):
        return Deadlock(
            "the transaction met another one and was ended", sqlstate=state, hint="run it again"
        )
    if state[:2] in ("22", "23") or state == "54000":
        return DataRefused(
            f"PostgreSQL refused a value: {message}",
            table=error.diag.table_name,
            column=error.diag.column_name,
            constraint=error.diag.constraint_name,
            sqlstate=state,
            hint="its kind should have been found before: please report it with the schema",
        )
    if state in ("42P07", "42710"):
        return NameTaken(
            f"a name is taken: {message}", sqlstate=state, hint="rename or drop what has it"
        )
    if state == "42P01" or (state == "XX000" and "relation" in message):
        return RelationGone(
            f"a table or view is gone: {message}",
            sqlstate=state,
            hint="its version may have been retired meanwhile: kappa versions list",
        )
    if state == "42501":
        return TableError(
            f"PostgreSQL does not allow it: {message}",
            sqlstate=state,
            hint="kappa's role must own the tables and views it makes",
        )
    return TableError(
        f"PostgreSQL refused a statement: {message}",
        sqlstate=state or None,
        hint="its log says more",
    )


def require_server(version: int) -> None:
    """Checks libpq's number of the server's version (PostgreSQL 15.4 is 150004).

    Raises:
        TableError: it is too old.
    """
    if version < OLDEST_SERVER:
        raise TableError(
            "PostgreSQL 15 or newer is needed",
            server_version=f"{version // 10_000}.{version % 10_000}",
            hint="keys that may be NULL need UNIQUE NULLS NOT DISTINCT, which came with 15",
        )


def _creator(conninfo: str) -> Callable[[], psycopg.Connection[tuple[object, ...]]]:
    query = "SELECT " + ", ".join("set_config(%s, %s, false)" for _ in _SESSION_SETTINGS)
    parameters = [part for setting in _SESSION_SETTINGS.items() for part in setting]

    def create() -> psycopg.Connection[tuple[object, ...]]:
        connection = psycopg.connect(conninfo, autocommit=True)
        try:
            require_server(connection.info.server_version)
            connection.execute(query, parameters)
            connection.autocommit = False
        except BaseException:
            connection.close()
            raise
        return connection

    return create


def _conninfo(url: str) -> str:
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except psycopg.Error:
        # Not chained: libpq repeats the URL, and with it the password.
        raise ConfigError(
            "the PostgreSQL URL cannot be read",
            hint="write it as postgresql://user:password@host:5432/database",
        ) from None
    return make_conninfo(**{**_CLIENT_SETTINGS, **given})


def _server(conninfo: str) -> str:
    parts = conninfo_to_dict(conninfo)
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    port = f":{parts['port']}" if "port" in parts else ""
    return f"{host}{port}/{parts.get('dbname') or ''}"


def _is_unavailable(error: psycopg.Error, state: str) -> bool:
    """Connection lost or refused, server stopping, out of disk or connections, read-only."""
    if not state:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return state[:2] in ("08", "28", "53", "58") or state in (
        "25006",
        "25P03",
        "3D000",
        "57P01",
        "57P02",
        "57P03",
        "57P05",
    )


def _first_line(error: psycopg.Error) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _compact_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
