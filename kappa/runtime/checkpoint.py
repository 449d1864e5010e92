"""The one transaction that makes a stretch of the log part of a version's tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from sqlalchemy import Engine
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from kappa.errors import Deadlock
from kappa.tables import dead_letters, progress, sink
from kappa.tables.layout import Layout


@dataclass(frozen=True)
class Checkpoint:
    """What is committed together.

    Attributes:
        advances: the step of every partition that moved.
        rows: rows or parts of rows, in the table's columns.
        late: rows of the late table, None for a version without one.
        dead: dead letters, as kappa.tables.dead_letters.FRAME_SCHEMA.
        building: whether rows are appended or merged into their keys.
    """

    advances: Sequence[progress.Advance]
    rows: pl.DataFrame
    late: pl.DataFrame | None
    dead: pl.DataFrame
    building: bool


@retry(
    retry=retry_if_exception_type(Deadlock),
    stop=stop_after_attempt(6),
    wait=wait_random_exponential(multiplier=0.02, max=1),
    reraise=True,
)
def commit(engine: Engine, layout: Layout, checkpoint: Checkpoint) -> None:
    """Commits one checkpoint: positions first, rows last.

    The positions come first because their compare-and-set is the fence: a worker that was
    replaced learns it before it writes a row.

    Raises:
        Fenced: a partition is no longer ours; nothing was written.
        DataRefused, DatabaseUnavailable: nothing was written, or the outcome is unknown.
    """
    with engine.begin() as connection:
        progress.advance(connection, layout.processor, layout.version, checkpoint.advances)
        if checkpoint.late is not None and len(checkpoint.late):
            sink.write_late(connection, layout, checkpoint.late)
        if len(checkpoint.dead):
            dead_letters.insert(connection, layout.processor, layout.version, checkpoint.dead)
        if len(checkpoint.rows):
            write = sink.append if checkpoint.building else sink.upsert
            write(connection, layout, checkpoint.rows)
