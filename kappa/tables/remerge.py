"""Rows whose parts a worker merges, because PostgreSQL cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Protocol

import polars as pl
import polars.selectors as cs
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.schema import CreateIndex, CreateTable, DropTable

from kappa.errors import TableError
from kappa.tables import parts
from kappa.tables.copy import copy_in
from kappa.tables.layout import Column, Layout
from kappa.tables.merge import MergeRule
from kappa.tables.read import read
from kappa.tables.relations import rows_table, temporary
from kappa.tables.sqltypes import BIGINT, BYTEA
from kappa.tables.stage import stage

_CHUNK = Column("_chunk", BIGINT, MergeRule.FIXED)
_CHUNK_BYTES = 8 << 20
"""How much of partials is merged at a time: it bounds memory, and how long PostgreSQL hears nothing
of a transaction, which it ends after half a minute so that a paused worker holds no locks."""

_ROW_BYTES = 200
"""What a row counts besides its partials."""


class Remerge(Protocol):
    """Merges rows of one key."""

    @property
    def schema(self) -> pl.Schema:
        """The columns and types in which rows are to be read."""

    def __call__(self, rows: pl.DataFrame) -> pl.DataFrame:
        """One row per key of ``rows`` (``schema``), in the table's columns."""


def is_merged_by_worker(layout: Layout) -> bool:
    """Whether rows of one key need a `Remerge` to become one."""
    return any(column.merge is MergeRule.REPLACED for column in layout.columns)


@lru_cache(maxsize=64)
def replaced_whole(layout: Layout) -> Layout:
    """The same tables, where an incoming row replaces the stored one in all its columns."""
    kept = (MergeRule.KEY, MergeRule.FIXED)
    columns = (
        column if column.merge in kept else replace(column, merge=MergeRule.REPLACED, order=())
        for column in layout.columns
    )
    return replace(layout, columns=tuple(columns))


def merged_with_stored(
    conn: Connection, layout: Layout, frame: pl.DataFrame, remerge: Remerge | None
) -> pl.DataFrame:
    """The rows of the frame's keys as they become by adding ``frame``, one per key."""
    remerge = _required(layout, remerge)
    # A key is one worker's, but not while producers disagree on how many partitions there are.
    lock = sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(layout.table, 0))
    conn.execute(sa.select(lock))
    columns = tuple(column for column in layout.columns if column.name in layout.key)
    keys = frame.select(layout.key).unique()
    staged = stage(conn, layout.table, columns, keys)
    table = rows_table(layout)
    wanted = sa.select(*(table.c[name] for name in remerge.schema))
    stored = wanted.join_from(table, staged, _is_stored_key(layout, table, staged))
    found = read(conn, stored, remerge.schema)
    if found.is_empty() and len(keys) == len(frame):
        return frame
    added = frame.select(pl.col(name).cast(dtype) for name, dtype in remerge.schema.items())
    merged = []
    for rows in _chunks(pl.concat([found, added]), layout.key):
        merged.append(remerge(rows))
        conn.execute(sa.select(1))  # we are still there
    return pl.concat(merged)


def _chunks(rows: pl.DataFrame, key: Sequence[str]) -> list[pl.DataFrame]:
    """The rows cut between keys; those of one key are in the order they had."""
    size = pl.lit(_ROW_BYTES) + pl.sum_horizontal(
        cs.binary().bin.size().fill_null(0).cast(pl.Int64)
    )
    if rows.select(size.sum()).item() < _CHUNK_BYTES:
        return [rows]
    sizes = rows.group_by(key, maintain_order=True).agg(size.sum().alias(_CHUNK.name))
    chunk = pl.col(_CHUNK.name).cum_sum() // _CHUNK_BYTES
    numbered = rows.join(
        sizes.with_columns(chunk), on=key, how="left", nulls_equal=True, maintain_order="left"
    )
    return numbered.partition_by(_CHUNK.name, maintain_order=True, include_key=False)


def take_out(
    conn: Connection, layout: Layout, written: sa.Table, split: sa.Table, *, delete: bool
) -> sa.Table:
    """Copies the rows of these keys to a temporary table, cut in chunks between keys.

    With ``delete`` they are gone from where they were.
    """
    taken = temporary("kappa_taken", (*layout.columns, _CHUNK))
    conn.execute(CreateTable(taken))
    same = parts.same_key(layout, written, split)
    if delete:
        rows: sa.FromClause = sa.delete(written).where(same).returning(*written.c).cte("gone")
    else:
        rows = sa.select(*written.c).join_from(written, split, same).subquery("found")
    size = sa.literal(_ROW_BYTES) + sum(
        sa.func.coalesce(sa.func.octet_length(rows.c[column.name]), 0)
        for column in layout.columns
        if column.type == BYTEA
    )
    # Rows of one key are peers in this order, so they have one running sum: that of the last.
    running = sa.func.sum(size).over(order_by=[rows.c[name] for name in layout.key])
    chunk = sa.cast(running, sa.BigInteger()) / _CHUNK_BYTES
    columns = [rows.c[column.name] for column in layout.columns]
    conn.execute(
        sa.insert(taken).from_select([c.name for c in taken.c], sa.select(*columns, chunk))
    )
    return taken


def put_back(conn: Connection, layout: Layout, taken: sa.Table, remerge: Remerge | None) -> None:
    """Appends what was taken out to the layout's table, merged to one row per key."""
    remerge = _required(layout, remerge)
    chunk = taken.c[_CHUNK.name]
    conn.execute(CreateIndex(sa.Index("kappa_taken_chunk", chunk)))
    wanted = sa.select(*(taken.c[name] for name in remerge.schema))
    for number in conn.scalars(sa.select(chunk).distinct().order_by(chunk)).all():
        rows = read(conn, wanted.where(chunk == number), remerge.schema)
        copy_in(conn, layout.table, layout.columns, remerge(rows))
    conn.execute(DropTable(taken))


def _required(layout: Layout, remerge: Remerge | None) -> Remerge:
    if remerge is None:
        raise TableError(
            f"rows of {layout.table!r} cannot be merged without their aggregates",
            hint="run this where the processor's plugin is installed",
        )
    return remerge


def _is_stored_key(layout: Layout, table: sa.Table, keys: sa.Table) -> sa.ColumnElement[bool]:
    """Whether a stored row has one of the keys: by the index, as far as no NULL can be in it."""
    nullable = {column.name for column in layout.columns if column.nullable}
    if nullable.issuperset(layout.key):
        return parts.same_key(layout, table, keys)
    return sa.and_(
        *(
            table.c[name].is_not_distinct_from(keys.c[name])
            if name in nullable
            else table.c[name] == keys.c[name]
            for name in layout.key
        )
    )
