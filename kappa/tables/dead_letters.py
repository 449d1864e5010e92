"""Records that could not be processed, kept with their place in the log and the reason."""

from __future__ import annotations

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.schema import CreateTable

from kappa.tables.bookkeeping import dead_letter
from kappa.tables.copy import copy_in
from kappa.tables.layout import Column
from kappa.tables.merge import MergeRule
from kappa.tables.relations import temporary
from kappa.tables.sqltypes import sql_type

FRAME_SCHEMA = pl.Schema(
    {
        "topic": pl.String(),
        "partition": pl.Int32(),
        "offset": pl.Int64(),
        "index": pl.Int32(),
        "timestamp": pl.Int64(),
        "key": pl.Binary(),
        "value": pl.Binary(),
        "error_class": pl.String(),
        "message": pl.String(),
        "stack": pl.String(),
        "timer": pl.String(),
    }
)
"""One row per record, ``index`` zero, or per timer that failed, from one on; ``timestamp`` is the
record's, in milliseconds."""

_COLUMNS = tuple(
    Column(name, sql_type(dtype), MergeRule.FIXED) for name, dtype in FRAME_SCHEMA.items()
)


def insert(conn: Connection, processor: str, version: int, frame: pl.DataFrame) -> None:
    """Adds dead letters; ``frame`` has FRAME_SCHEMA. One already there is left as it is.

    NUL in a message or stack, which PostgreSQL cannot hold, becomes U+FFFD.
    """
    if frame.is_empty():
        return
    staged = temporary("kappa_stage_dead_letter", _COLUMNS)
    conn.execute(CreateTable(staged, if_not_exists=True))
    conn.execute(sa.delete(staged))
    text = pl.col("message", "stack", "timer").str.replace_all("\0", "\ufffd", literal=True)
    copy_in(conn, staged.name, _COLUMNS, frame.with_columns(text))
    rows = sa.select(sa.literal(processor), sa.literal(version), *staged.c).order_by(
        staged.c.topic, staged.c.partition, staged.c.offset, staged.c.index
    )
    names = ["processor", "version", *(column.name for column in _COLUMNS)]
    conn.execute(postgresql_insert(dead_letter).from_select(names, rows).on_conflict_do_nothing())


def counts(conn: Connection, processor: str, version: int) -> dict[str, int]:
    """How many dead letters there are by error class."""
    found = conn.execute(
        sa.select(dead_letter.c.error_class, sa.func.count())
        .where(dead_letter.c.processor == processor, dead_letter.c.version == version)
        .group_by(dead_letter.c.error_class)
        .order_by(dead_letter.c.error_class)
    )
    return {row[0]: row[1] for row in found}
