"""Frames in temporary tables, for statements that join them with the tables of a version."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.schema import CreateTable

from kappa.tables.copy import copy_in
from kappa.tables.layout import Column
from kappa.tables.relations import temporary


def stage(
    conn: Connection, table: str, columns: tuple[Column, ...], frame: pl.DataFrame
) -> sa.Table:
    """Copies these columns of ``frame``, meant for ``table``, into a temporary table.

    It empties itself with the transaction, and at the next call with the same columns. It is
    kept with the session: making one for every checkpoint would bloat the catalog.
    """
    staged = _stage_table(table, columns)
    conn.execute(CreateTable(staged, if_not_exists=True))
    conn.execute(sa.delete(staged))  # an earlier call in this transaction
    copy_in(conn, staged.name, columns, frame)
    return staged


@lru_cache(maxsize=64)
def _stage_table(table: str, columns: tuple[Column, ...]) -> sa.Table:
    """One name per shape: a version dropped and declared anew may have other columns."""
    shape = repr((table, [(column.name, column.type.name) for column in columns]))
    name = f"kappa_stage_{hashlib.sha256(shape.encode()).hexdigest()[:24]}"
    return temporary(name, [replace(column, nullable=True) for column in columns])
