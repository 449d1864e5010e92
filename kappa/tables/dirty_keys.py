"""Keys whose rows changed and are still to leave: what the outbox holds of rows that merge.

A key is written with every checkpoint that changed its row. A relay chooses keys, writes the
number of their batch to all their entries and reads their rows, all in one snapshot; whatever
changes a row later is another entry. So an entry stands for exactly one sending, and after a
restart its number tells whether that has happened. All functions run in the caller's
transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import JSONB

from kappa.tables import finality
from kappa.tables.bookkeeping import dirty_key
from kappa.tables.finalize import Finalize, WindowEnd
from kappa.tables.layout import Column, Layout
from kappa.tables.read import read
from kappa.tables.relations import rows_table
from kappa.tables.stage import stage

_FOUND = "@found"
KEY = "@key"
"""The column of a key, as the JSON text of its columns."""


def mark(
    conn: Connection,
    layout: Layout,
    output: str,
    rows: pl.DataFrame,
    reached: Mapping[int, int],
) -> None:
    """Adds the keys of rows that a checkpoint changes; ``reached`` is where it goes to.

    ``rows`` has the key columns of the layout, some keys perhaps more than once.
    """
    columns = _key_columns(layout)
    names = [column.name for column in columns]
    keys = rows.select(names).unique(maintain_order=True)
    staged = stage(conn, f"{layout.table} keys", columns, keys)
    _insert(conn, layout, output, sa.select(_json_key(layout, staged)), reached)


def mark_final(
    conn: Connection,
    layout: Layout,
    output: str,
    after: datetime | None,
    through: datetime,
    reached: Mapping[int, int],
) -> None:
    """Adds the keys of the windows that end after one moment and not after another.

    ``after`` None is before all time.
    """
    table = rows_table(layout)
    window_end = _window_end(layout)
    end = window_end.expression(table)
    final = [end <= through]
    if after is not None:
        final.append(end > after)
        if isinstance(window_end, WindowEnd):  # the key finds them by their start
            length = timedelta(milliseconds=window_end.size_ms)
            if after - finality.EARLIEST > length:
                final.append(table.c[window_end.start] > after - length)
    chosen = sa.select(_json_key(layout, table)).where(*final)
    _insert(conn, layout, output, chosen.order_by(end), reached)


def prune(conn: Connection, layout: Layout, output: str) -> None:
    """Drops the keys of a version that does not serve whose changes the serving one has come to."""
    parameters = {"p": layout.processor, "v": layout.version, "o": output}
    conn.execute(_PRUNE, parameters)


def begin(conn: Connection, name: str, output: str, sent: int) -> None:
    """What a relay does first: drops the batch it sent last, and takes other marks away."""
    of_output = sa.and_(dirty_key.c.processor == name, dirty_key.c.output == output)
    conn.execute(sa.delete(dirty_key).where(of_output, dirty_key.c.batch == sent))
    marked = sa.and_(of_output, dirty_key.c.batch.is_not(None))
    conn.execute(sa.update(dirty_key).where(marked).values(batch=None))


def discard(conn: Connection, name: str, output: str, batch: int) -> None:
    """Drops the entries of a batch that has left."""
    of_output = sa.and_(dirty_key.c.processor == name, dirty_key.c.output == output)
    conn.execute(sa.delete(dirty_key).where(of_output, dirty_key.c.batch == batch))


def take(
    conn: Connection, layout: Layout, output: str, batch: int, limit: int, types: pl.Schema
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Chooses up to ``limit`` keys, the longest changed first, for a batch, and reads their rows.

    The transaction must be REPEATABLE READ.

    Returns:
        KEY and the view's columns with their ``types`` of those that have a row, and KEY of
        those that have none; keys as the JSON text of their columns.
    """
    of_output = sa.and_(
        dirty_key.c.processor == layout.processor,
        dirty_key.c.output == output,
        dirty_key.c.version == layout.version,
    )
    chosen = (
        sa.select(sa.cast(dirty_key.c.key, sa.Text))
        .where(of_output)
        .group_by(dirty_key.c.key)
        .order_by(sa.func.min(dirty_key.c.changed_at), dirty_key.c.key)
        .limit(limit)
    )
    keys = conn.scalars(chosen).all()
    found = _rows(conn, layout, keys, types)
    if keys:
        these = sa.select(_listed(keys).table_valued("value").c.value)
        conn.execute(
            sa.update(dirty_key).where(of_output, dirty_key.c.key.in_(these)).values(batch=batch)
        )
    present = found.filter(pl.col(_FOUND)).drop(_FOUND)
    return present, found.filter(~pl.col(_FOUND)).select(KEY)


def _rows(conn: Connection, layout: Layout, keys: Sequence[str], types: pl.Schema) -> pl.DataFrame:
    """The rows of these keys in their order, and nothing but the key where there is none."""
    schema = pl.Schema({KEY: pl.String(), _FOUND: pl.Boolean(), **types})
    if not keys:
        return schema.to_frame()
    table = rows_table(layout)
    given = _listed(keys).table_valued("value", with_ordinality="place").render_derived()
    value = sa.type_coerce(given.c.value, JSONB)
    same = [
        _same(table.c[column.name], _typed(value, column), nullable=column.nullable)
        for column in _key_columns(layout)
    ]
    if layout.hides:  # a session that was final and went on is not shown until it is final again
        through = finality.through(layout.processor, layout.version)
        same.append(_window_end(layout).expression(table) <= through)
    shown = [
        column.finalize.expression(table).label(column.name)
        for column in layout.view
        if column.name in types
    ]
    found = table.c[_key_columns(layout)[0].name]
    is_found = sa.literal_column(f'"{table.name}".ctid IS NOT NULL', sa.Boolean)
    query = (
        sa.select(sa.cast(value, sa.Text).label(KEY), is_found.label(_FOUND), *shown)
        .select_from(given.outerjoin(found.table, sa.and_(*same)))
        .order_by(given.c.place)
    )
    return read(conn, query, schema)


def _window_end(layout: Layout) -> Finalize:
    return next(column.finalize for column in layout.view if column.name == "window_end")


def _key_columns(layout: Layout) -> tuple[Column, ...]:
    by_name = {column.name: column for column in layout.columns}
    return tuple(by_name[name] for name in layout.key)


def _listed(keys: Sequence[str]) -> Any:
    """Keys as a set-returning function. Their text is never parsed here: numbers stay exact."""
    text = sa.literal(f"[{','.join(keys)}]", sa.Text)
    return sa.func.jsonb_array_elements(sa.cast(text, JSONB))


def _json_key(layout: Layout, rows: sa.FromClause) -> sa.ColumnElement[Any]:
    parts = [part for name in layout.key for part in (sa.literal(name), rows.c[name])]
    return sa.func.jsonb_build_object(*parts).label("key")


def _typed(key: sa.ColumnElement[Any], column: Column) -> sa.ColumnElement[Any]:
    text = key.op("->>")(sa.literal(column.name, sa.Text))
    if column.type.name == "jsonb":
        return key.op("->")(sa.literal(column.name, sa.Text))
    return sa.cast(text, column.type.sqlalchemy)


def _same(
    stored: sa.ColumnElement[Any], given: sa.ColumnElement[Any], *, nullable: bool
) -> sa.ColumnElement[bool]:
    """Whether two values are equal; NULL equals NULL, in a form that an index can answer."""
    if not nullable:
        return stored == given
    return sa.or_(stored == given, sa.and_(stored.is_(None), given.is_(None)))


def _insert(
    conn: Connection,
    layout: Layout,
    output: str,
    keys: sa.Select[Any],
    reached: Mapping[int, int],
) -> None:
    chosen = keys.subquery("keys")
    rows = sa.select(
        sa.literal(layout.processor),
        sa.literal(layout.version),
        sa.literal(output),
        chosen.c.key,
        sa.literal({str(partition): end for partition, end in reached.items()}, JSONB),
    )
    names = ["processor", "version", "output", "key", "reached"]
    conn.execute(sa.insert(dirty_key).from_select(names, rows))


# What a checkpoint changed is known to the serving version once that has come as far in all
# partitions.
_PRUNE = sa.text("""
DELETE FROM kappa_dirty_key AS d
USING kappa_processor AS p
WHERE d.processor = :p AND d.version = :v AND d.output = :o
  AND p.name = :p AND p.active_version <> :v
  AND NOT EXISTS (
    SELECT 1 FROM jsonb_each_text(d.reached) AS step (part, next_offset)
    LEFT JOIN kappa_offset AS o ON o.processor = :p AND o.version = p.active_version
      AND o.partition = CAST(step.part AS int)
    WHERE o.next_offset IS NULL OR o.next_offset < CAST(step.next_offset AS bigint))
""")
