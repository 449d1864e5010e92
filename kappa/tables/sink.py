"""Frames into tables: COPY for a build, one sorted upsert for a live version.

All functions run in the caller's transaction. A frame has the table's columns by name (others
are ignored), each of a type its SqlType takes; check it with `storable.check_storable` first.
Frames of Kind.LATEST also have a Boolean ``_deleted``; its rows need only key and offset.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.schema import CreateTable

from kappa.tables import parts
from kappa.tables.copy import copy_in
from kappa.tables.layout import DELETED, OFFSET, Kind, Layout
from kappa.tables.relations import building_columns, rows_table, temporary


def append(conn: Connection, layout: Layout, frame: pl.DataFrame) -> None:
    """Adds rows, or parts of rows, to a table whose build is not finished.

    Raises:
        DataRefused: PostgreSQL cannot hold a value.
    """
    copy_in(conn, layout.table, building_columns(layout), frame)


def upsert(conn: Connection, layout: Layout, frame: pl.DataFrame) -> None:
    """Merges rows into a finished table. Parts of one key may come in several rows.

    Rows are written in the order of their key, so that two workers cannot deadlock.

    Raises:
        DataRefused: PostgreSQL cannot hold a value, a sum overflows its column, or (append-only
            tables) a row is already there.
        Deadlock: run the transaction again.
    """
    if frame.is_empty():
        return
    table = rows_table(layout)
    if layout.kind is Kind.APPEND:
        copy_in(conn, layout.table, layout.columns, frame)
        return
    if layout.kind is Kind.LATEST:
        frame = frame.sort(OFFSET).unique(layout.key, keep="last")
    staged = _stage(conn, layout, frame)
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


def _staged_rows(layout: Layout, staged: sa.Table, frame: pl.DataFrame) -> sa.Select[object]:
    """What is staged as rows in the order of the key, at most one per key."""
    if layout.kind is Kind.AGGREGATE and frame.select(layout.key).is_duplicated().any():
        return parts.merged(layout, staged)
    rows = sa.select(*(staged.c[column.name] for column in layout.columns))
    if layout.kind is Kind.LATEST:
        rows = rows.where(~staged.c[DELETED])
    return rows.order_by(*(staged.c[name] for name in layout.key))


def _stage(conn: Connection, layout: Layout, frame: pl.DataFrame) -> sa.Table:
    """Copies the frame into a temporary table that empties itself with the transaction.

    The table is kept with the session: making one for every checkpoint would bloat the catalog.
    """
    staged = _stage_table(layout)
    conn.execute(CreateTable(staged, if_not_exists=True))
    conn.execute(sa.delete(staged))  # an earlier upsert of this transaction
    copy_in(conn, staged.name, building_columns(layout), frame)
    return staged


@lru_cache(maxsize=64)
def _stage_table(layout: Layout) -> sa.Table:
    """One name per shape: a version dropped and declared anew may have other columns."""
    columns = [replace(column, nullable=True) for column in building_columns(layout)]
    shape = repr((layout.table, [(column.name, column.type.name) for column in columns]))
    name = f"kappa_stage_{hashlib.sha256(shape.encode()).hexdigest()[:24]}"
    return temporary(name, columns)
