"""What keyed processors remember: one row per key, in a table beside the version's rows.

Unlike the rows it is read while it is written, so it has its key and indexes from the start. All
functions run in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
import polars as pl
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable

from kappa.tables import catalog, names
from kappa.tables.bookkeeping import offset
from kappa.tables.copy import copy_in
from kappa.tables.engine import driver, translating
from kappa.tables.layout import Column, Layout, key_of
from kappa.tables.merge import MergeRule
from kappa.tables.relations import key_constraint, relation, temporary
from kappa.tables.sqltypes import BIGINT, BYTEA, INTEGER, TEXT

COLUMNS = (
    Column("partition", INTEGER, MergeRule.KEY, nullable=False),
    Column("key", TEXT, MergeRule.KEY, nullable=False),
    Column("state", BYTEA, MergeRule.LATEST, nullable=False),
    Column("event_timer", BIGINT, MergeRule.LATEST),
    Column("processing_timer", BIGINT, MergeRule.LATEST),
)
"""The timers are the earliest of their kind, ms since 1970; NULL where there is none."""

_STAGED = tuple(
    Column(c.name, c.type, c.merge, nullable=c.name == "state" or c.nullable) for c in COLUMNS
)
_STAGE = temporary("kappa_stage_state", _STAGED)


class KeyRow(NamedTuple):
    """The stored state of one key."""

    key: str
    state: bytes
    event_timer: int | None
    processing_timer: int | None


def add_keys(conn: Connection, layout: Layout) -> None:
    """Gives a new state table its key, the indexes of its timers, and room for updates."""
    table = _table(layout)
    conn.execute(AddConstraint(key_constraint(_table(layout), COLUMNS)))
    timers = (
        (names.event_timers_name(table.name), table.c.event_timer),
        (names.processing_timers_name(table.name), table.c.processing_timer),
    )
    for name, due in timers:
        conn.execute(
            CreateIndex(sa.Index(name, table.c.partition, due, postgresql_where=due.is_not(None)))
        )
    _run(conn, sql.SQL("ALTER TABLE {} SET (fillfactor = 70)").format(sql.Identifier(table.name)))


def write(conn: Connection, layout: Layout, frame: pl.DataFrame) -> None:
    """Replaces the state of the frame's keys (kappa.processing.events.STATE_SCHEMA).

    A null ``state`` removes its key. A key comes at most once.

    Raises:
        DataRefused: PostgreSQL cannot hold a value.
        Deadlock: run the transaction again.
    """
    if frame.is_empty():
        return
    table = _table(layout)
    conn.execute(CreateTable(_STAGE, if_not_exists=True))
    conn.execute(sa.delete(_STAGE))  # an earlier write of this transaction
    copy_in(conn, _STAGE.name, _STAGED, frame)
    if frame["state"].null_count():
        gone = sa.and_(*(table.c[name] == _STAGE.c[name] for name in key_of(COLUMNS)))
        conn.execute(sa.delete(table).where(gone, _STAGE.c.state.is_(None)))
    conn.execute(_upsert(layout))


def states(
    conn: Connection,
    layout: Layout,
    partition: int,
    keys: Collection[str],
    event_through: int | None,
    processing_through: int | None,
) -> list[KeyRow]:
    """The state of these keys and of every key with a timer due by the times given (ms).

    Each key comes once, in no order; keys without a stored state do not come.
    """
    found: dict[str, KeyRow] = {}
    for statement, value in (
        (_of_keys(layout), orjson.dumps(list(keys)).decode() if keys else None),
        (_by_event_timer(layout), event_through),
        (_by_processing_timer(layout), processing_through),
    ):
        if value is not None:
            rows = conn.execute(statement, {"partition": partition, "wanted": value})
            found.update((row.key, KeyRow(*row)) for row in rows)
    return list(found.values())


def every_state(conn: Connection, layout: Layout, partition: int, most: int) -> list[KeyRow] | None:
    """The state of every key of a partition, in no order; None if more than ``most`` have one."""
    table = _table(layout)
    mine = sa.select(*_selected(table)).where(table.c.partition == partition).limit(most + 1)
    found = [KeyRow(*row) for row in conn.execute(mine)]
    return found if len(found) <= most else None


class NextTimers(NamedTuple):
    """When the earliest timer of each kind is due in any partition, ms; None without any.

    The end of a state's life counts as one in event time.
    """

    event: int | None = None
    processing: int | None = None


def next_timers(conn: Connection, layout: Layout) -> NextTimers:
    """The earliest timers that are set."""
    if layout.state_table is None or catalog.find(conn, layout.state_table) is None:
        return NextTimers()
    table = _table(layout)
    timers = (table.c.event_timer, table.c.processing_timer)
    return NextTimers(*(conn.scalar(_earliest(layout, timer)) for timer in timers))


def _earliest(layout: Layout, timer: sa.Column[Any]) -> sa.Select[Any]:
    """Looks at the first entry of the timers' index in each partition, and no further."""
    part = (
        sa.select(offset.c.partition)
        .where(offset.c.processor == layout.processor, offset.c.version == layout.version)
        .subquery("part")
    )
    first = (
        sa.select(timer.label("due"))
        .where(timer.table.c.partition == part.c.partition, timer.is_not(None))
        .order_by(timer)
        .limit(1)
        .lateral("first")
    )
    return sa.select(sa.func.min(first.c.due)).select_from(part.join(first, sa.true()))


@lru_cache(maxsize=64)
def _table(layout: Layout) -> sa.Table:
    assert layout.state_table is not None
    return relation(layout.state_table, COLUMNS)


@lru_cache(maxsize=64)
def _upsert(layout: Layout) -> postgresql.Insert:
    """In the order of the key, so that two workers cannot deadlock."""
    key = key_of(COLUMNS)
    rows = (
        sa.select(*_STAGE.c)
        .where(_STAGE.c.state.is_not(None))
        .order_by(*(_STAGE.c[name] for name in key))
    )
    table = _table(layout)
    insert = postgresql.insert(table).from_select([column.name for column in COLUMNS], rows)
    changed = {c.name: insert.excluded[c.name] for c in COLUMNS if c.name not in key}
    return insert.on_conflict_do_update(constraint=names.key_name(table.name), set_=changed)


@lru_cache(maxsize=64)
def _of_keys(layout: Layout) -> sa.Select[Any]:
    """One descent of the key's index per key, whatever the planner thinks of so many.

    The keys come as JSON, which both sides read and write faster than an array.
    """
    table = _table(layout)
    wanted = sa.cast(sa.bindparam("wanted", type_=sa.Text), postgresql.JSON)
    texts = sa.func.json_array_elements_text(wanted)
    listed = texts.table_valued(sa.column("key", sa.Text), name="listed").render_derived()
    one = (
        sa.select(*_selected(table))
        .where(table.c.partition == sa.bindparam("partition"), table.c.key == listed.c.key)
        .limit(1)
        .lateral("found")
    )
    return sa.select(*one.c).select_from(listed.join(one, sa.true()))


@lru_cache(maxsize=64)
def _by_event_timer(layout: Layout) -> sa.Select[Any]:
    table = _table(layout)
    return _due(table, table.c.event_timer)


@lru_cache(maxsize=64)
def _by_processing_timer(layout: Layout) -> sa.Select[Any]:
    table = _table(layout)
    return _due(table, table.c.processing_timer)


def _due(table: sa.Table, timer: sa.Column[Any]) -> sa.Select[Any]:
    wanted = sa.bindparam("wanted", type_=sa.BigInteger)
    mine = table.c.partition == sa.bindparam("partition")
    return sa.select(*_selected(table)).where(mine, timer <= wanted)


def _selected(table: sa.Table) -> list[sa.Column[Any]]:
    return [table.c[name] for name in KeyRow._fields]


def _run(conn: Connection, statement: sql.Composed) -> None:
    with translating():
        driver(conn).execute(statement)
