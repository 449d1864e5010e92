"""Frames into tables: COPY for a build, one sorted upsert for a live version.

All functions run in the caller's transaction. A frame has the table's columns by name (others
are ignored), each of a type its SqlType takes; check it with `storable.check_storable` first.
Frames of Kind.LATEST also have a Boolean ``_deleted``; its rows need only key and offset.
"""

from __future__ import annotations

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from kappa.tables import parts
from kappa.tables.copy import copy_in
from kappa.tables.layout import DELETED, OFFSET, Kind, Layout
from kappa.tables.relations import building_columns, rows_table
from kappa.tables.remerge import (
    Remerge,
    is_merged_by_worker,
    merged_with_stored,
    replaced_whole,
)
from kappa.tables.stage import stage


def append(conn: Connection, layout: Layout, frame: pl.DataFrame) -> None:
    """Adds rows, or parts of rows, to a table whose build is not finished.

    Raises:
        DataRefused: PostgreSQL cannot hold a value.
    """
    copy_in(conn, layout.table, building_columns(layout), frame)


def upsert(
    conn: Connection, layout: Layout, frame: pl.DataFrame, remerge: Remerge | None = None
) -> None:
    """Merges rows into a finished table. Parts of one key may come in several rows.

    Rows are written in the order of their key, so that two workers cannot deadlock. ``remerge``
    is needed where the layout has columns with MergeRule.REPLACED; no other session may write
    rows of the same keys meanwhile.

    Raises:
        DataRefused: PostgreSQL cannot hold a value, a sum overflows its column, or (append-only
            tables) a row is already there.
        Deadlock: run the transaction again.
    """
    if frame.is_empty():
        return
    if layout.kind is Kind.APPEND:
        copy_in(conn, layout.table, layout.columns, frame)
        return
    if is_merged_by_worker(layout):
        frame = merged_with_stored(conn, layout, frame, remerge)
        layout = replaced_whole(layout)
    table = rows_table(layout)
    if layout.kind is Kind.LATEST:
        frame = frame.sort(OFFSET).unique(layout.key, keep="last")
    staged = stage(conn, layout.table, building_columns(layout), frame)
    if layout.kind is Kind.LATEST and frame[DELETED].any():
        conn.execute(parts.delete_rows(layout, table, staged))
    conn.execute(parts.upsert(layout, table, _staged_rows(layout, staged, frame)))


def write_late(conn: Connection, layout: Layout, frame: pl.DataFrame) -> None:
    """Adds late records to the table of late records; the frame has its columns.

    Raises:
        DataRefused: PostgreSQL cannot hold a value, or a record is already there.
    """
    if layout.late is not None and layout.late_table is not None and not frame.is_empty():
        copy_in(conn, layout.late_table, layout.late, frame)


def append_side(conn: Connection, layout: Layout, output: str, frame: pl.DataFrame) -> None:
    """Adds rows to the table of a side output; the frame has its columns.

    Raises:
        DataRefused: PostgreSQL cannot hold a value, or (once it is finished) a row is already
            there.
    """
    side = next(side for side in layout.sides if side.name == output)
    if not frame.is_empty():
        copy_in(conn, layout.side_table(side), side.columns, frame)


def _staged_rows(layout: Layout, staged: sa.Table, frame: pl.DataFrame) -> sa.Select[object]:
    """What is staged as rows in the order of the key, at most one per key."""
    if layout.kind is Kind.AGGREGATE and frame.select(layout.key).is_duplicated().any():
        return parts.merged(layout, staged)
    rows = sa.select(*(staged.c[column.name] for column in layout.columns))
    if layout.kind is Kind.LATEST:
        rows = rows.where(~staged.c[DELETED])
    return rows.order_by(*(staged.c[name] for name in layout.key))
