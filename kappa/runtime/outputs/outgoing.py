"""What a checkpoint adds to the outbox, in its transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

import polars as pl
from sqlalchemy import Connection

from kappa.processing.events import Changes
from kappa.runtime.outputs.encoder import OutputEncoder, key_texts
from kappa.tables import dirty_keys, finality, handover, news, outbox
from kappa.tables.layout import INDEX, Layout, key_of
from kappa.tables.outbox import Frontier
from kappa.tables.publication import LATE, MAIN, Carries, Publication


class Outgoing:
    """The outputs of one checkpoint of one version.

    Args:
        topic: the source.
        reached: the offset, exclusive, to which the checkpoint goes, by partition.
        changes: what it commits.
    """

    def __init__(
        self,
        conn: Connection,
        layout: Layout,
        topic: str,
        reached: Mapping[int, int],
        changes: Changes,
    ) -> None:
        self._conn = conn
        self._layout = layout
        self._changes = changes
        self._reached = dict(reached)
        self._topic = topic
        self._frontier: Frontier | None = None
        if layout.publishes and reached:
            self._frontier = outbox.frontier(conn, layout.processor, layout.version, topic)

    def write(self) -> None:
        """Adds what leaves of the rows that are written, before they are."""
        if self._frontier is None:
            return
        if not self._frontier.serving:
            handover.prune(self._conn, self._layout)
        for sent in self._layout.publishes:
            if sent.carries is Carries.RECORDS:
                self._write_records(sent, self._frontier)
            elif sent.carries is Carries.UPDATES and self._is_beyond(self._frontier):
                dirty_keys.mark(
                    self._conn, self._layout, sent.output, self._changes.rows, self._reached
                )
        news.tell(self._conn, self._layout.processor)

    def write_final(self, before: datetime | None, corrections: pl.DataFrame) -> None:
        """Adds the windows that have become final since ``before``, and the rows that correct
        what was.

        A version that does not serve adds none that have become final: a promote finds them by
        what both had reached. What it has corrected no other trace tells of.
        """
        layout, frontier = self._layout, self._frontier
        if frontier is None or not self._sends_final():
            return
        if frontier.serving:
            now = finality.read(self._conn, layout.processor, layout.version).through
            if now is not None and (before is None or before < now):
                dirty_keys.mark_final(self._conn, layout, MAIN, before, now, self._reached)
        if len(corrections) and self._is_beyond(frontier):
            dirty_keys.mark(self._conn, layout, MAIN, corrections, self._reached)

    def _sends_final(self) -> bool:
        sent = self._layout.publication(MAIN)
        return sent is not None and sent.carries is Carries.FINAL

    def _is_beyond(self, frontier: Frontier) -> bool:
        return any(frontier.beyond(*step) for step in self._reached.items())

    def _write_records(self, sent: Publication, frontier: Frontier) -> None:
        rows = _rows_of(self._changes, sent.output)
        if rows is None or rows.is_empty():
            return
        if not frontier.serving:
            rows = rows.filter(_not_reached(frontier.reached))
            if rows.is_empty():
                return
        layout = self._layout
        frame = _frame(layout, sent, rows, self._topic)
        outbox.insert(self._conn, layout.processor, layout.version, sent.output, frame)


def _rows_of(changes: Changes, output: str) -> pl.DataFrame | None:
    if output == MAIN:
        return changes.rows
    return changes.late if output == LATE else changes.sides.get(output)


def _not_reached(reached: Mapping[int, int]) -> pl.Expr:
    known = pl.col("_partition").replace_strict(
        dict(reached) or {-1: 0}, default=0, return_dtype=pl.Int64
    )
    return pl.col("_offset") >= known


def _frame(layout: Layout, sent: Publication, rows: pl.DataFrame, topic: str) -> pl.DataFrame:
    """The rows as outbox.FRAME_SCHEMA."""
    late = sent.output == LATE
    keys = pl.Series(key_texts(rows, _late_key(layout)), dtype=pl.Binary) if late else rows["@key"]
    index = pl.col(INDEX) if INDEX in rows.columns else pl.lit(0)
    return rows.select(
        pl.lit(topic).alias("topic"),
        pl.col("_partition").alias("partition"),
        pl.col("_offset").alias("offset"),
        index.cast(pl.Int32).alias("index"),
        keys.alias("key"),
        pl.Series("value", _encoder(layout, sent).encode(rows), dtype=pl.Binary),
    )


def _late_key(layout: Layout) -> list[str]:
    """The columns of a late record that say which rows it would have gone into."""
    place = key_of(layout.late or ())
    return [c.name for c in layout.late or () if c.name not in place and not c.name.startswith("_")]


@lru_cache(maxsize=64)
def _encoder(layout: Layout, sent: Publication) -> OutputEncoder:
    return OutputEncoder(layout, sent)
