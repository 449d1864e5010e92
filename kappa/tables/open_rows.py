"""Rows of windows that may still change, for a worker that takes up a partition."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from kappa.tables import build, parts
from kappa.tables.layout import Layout
from kappa.tables.read import read
from kappa.tables.relations import building_columns, relation, rows_table

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def open_rows(
    conn: Connection, layout: Layout, partition: int, ends_after: int, schema: pl.Schema
) -> pl.DataFrame:
    """The partition's rows whose ``window_end`` is after ``ends_after`` (ms since 1970).

    ``layout`` is of Kind.LATEST with the columns ``_partition`` and ``window_end``; while it is
    built a key may have several rows, of which the newest counts.
    """
    finished = build.is_finished(conn, layout)
    table = rows_table(layout) if finished else relation(layout.table, building_columns(layout))
    moment = _EPOCH + timedelta(milliseconds=ends_after)
    # A row only ever moves its end up, so the newest row of a key is among those found.
    found = sa.select(table).where(
        table.c["_partition"] == partition, table.c["window_end"] > moment
    )
    rows = found if finished else parts.merged(layout, found.subquery("open"))
    chosen = rows.subquery("rows")
    return read(conn, sa.select(*(chosen.c[name] for name in schema)), schema)
