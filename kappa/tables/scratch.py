"""A schema for work whose tables nobody is to see, and which is gone afterwards.

It is dropped when the work ends. What a process that was killed has left is dropped by the next:
while somebody works in a schema, he holds an advisory lock of its name, which ends with him.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import sqlalchemy as sa
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import Connection, Engine

from kappa.tables import migrate
from kappa.tables.engine import connect, driver, translating

PREFIX = "kappa_scratch_"


@contextmanager
def scratch(url: str) -> Iterator[str]:
    """The URL of a schema of our own in the database of ``url``, with kappa's own tables in it.

    Raises:
        TableError: the role may not create schemas in this database.
    """
    name = f"{PREFIX}{uuid4().hex}"
    engine = connect(url)
    try:
        with engine.connect() as holder:
            _lock(holder, name)
            drop_left(engine)
            with engine.begin() as conn:
                _run(conn, sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
            try:
                inside = _inside(url, name)
                _migrate(inside)
                yield inside
            finally:
                with engine.begin() as conn:
                    _drop(conn, name)
    finally:
        engine.dispose()


def drop_left(engine: Engine) -> None:
    """Drops scratch schemas that nobody works in any longer."""
    names = sa.text("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, :prefix)")
    with engine.begin() as conn:
        for name in conn.scalars(names, {"prefix": PREFIX}).all():
            free = sa.select(sa.func.pg_try_advisory_xact_lock(_number(name)))
            if conn.scalar(free):
                _drop(conn, name)


def _lock(conn: Connection, name: str) -> None:
    """Held by the session, which is not in a transaction meanwhile."""
    conn.execute(sa.select(sa.func.pg_advisory_lock(_number(name))))
    conn.commit()


def _number(name: str) -> sa.ColumnElement[int]:
    return sa.func.hashtextextended(name, 0)


def _inside(url: str, schema: str) -> str:
    given = str(conninfo_to_dict(url).get("options") or "")
    return make_conninfo(url, options=f"{given} -csearch_path={schema}".strip())


def _migrate(url: str) -> None:
    engine = connect(url)
    try:
        migrate.upgrade(engine)
    finally:
        engine.dispose()


def _drop(conn: Connection, name: str) -> None:
    """All that is in it is ours: nothing else can be named by its search path."""
    _run(conn, sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))


def _run(conn: Connection, statement: sql.Composed) -> None:
    with translating():
        driver(conn).execute(statement)
