"""The one transaction that makes a stretch of the log part of a version's tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from sqlalchemy import Connection, Engine
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from kappa.errors import Deadlock
from kappa.failpoints import reach
from kappa.processing.events import Changes
from kappa.processing.windowed.corrections import (
    APPLIED,
    CORRECTIONS,
    corrected,
    with_corrections,
)
from kappa.runtime.outputs.outgoing import Outgoing
from kappa.tables import dead_letters, finality, progress, sink, state
from kappa.tables.layout import Layout
from kappa.tables.remerge import Remerge


@dataclass(frozen=True)
class LogEnds:
    """Where the log ends, as far as that bears on what is final.

    Attributes:
        spans: up to where the version's partitions are being read: topic, partition, end.
        silent: the partitions that have nothing to read once they are there.
    """

    spans: Collection[finality.Span] = ()
    silent: Collection[finality.Partition] = ()


NOWHERE = LogEnds()


@dataclass(frozen=True)
class Checkpoint:
    """What is committed together.

    Attributes:
        advances: the step of every partition that moved.
        changes: what the fold flushed.
        dead: dead letters, as kappa.tables.dead_letters.FRAME_SCHEMA.
        retried: the copies that were applied.
        most_dead: how many open dead letters the version may have; None for any number.
        building: whether rows are appended or merged into their keys.
        remerge: how rows of one key merge where SQL cannot do it.
        ends: where the log ends; None if nobody knows, and then no window becomes final.
    """

    advances: Sequence[progress.Advance]
    changes: Changes
    dead: pl.DataFrame
    building: bool
    remerge: Remerge | None = None
    retried: Sequence[dead_letters.Retried] = ()
    most_dead: int | None = None
    ends: LogEnds | None = NOWHERE


@dataclass(frozen=True)
class Written:
    """What a commit wrote: rows, and records applied to rows that were final already."""

    rows: int = 0
    corrections: int = 0


@retry(
    retry=retry_if_exception_type(Deadlock),
    stop=stop_after_attempt(6),
    wait=wait_random_exponential(multiplier=0.02, max=1),
    reraise=True,
)
def commit(engine: Engine, layout: Layout, checkpoint: Checkpoint) -> Written:
    """Commits one checkpoint: positions first, rows last.

    The positions come first because their compare-and-set is the fence: a worker that was
    replaced learns it before it writes a row.

    Raises:
        Fenced: a partition is no longer ours; nothing was written.
        TooManyDeadLetters: the version has more than it allows; nothing was written.
        DataRefused, DatabaseUnavailable: nothing was written, or the outcome is unknown.
    """
    changes = checkpoint.changes
    processor, version = layout.processor, layout.version
    corrections = changes.rows.clear()
    with engine.begin() as connection:
        progress.advance(connection, processor, version, checkpoint.advances)
        reach("offsets_written")
        if changes.state is not None:
            state.write(connection, layout, changes.state)
        if changes.late is not None:
            sink.write_late(connection, layout, changes.late)
        dead_letters.insert(connection, processor, version, checkpoint.dead)
        dead_letters.mark_retried(connection, processor, version, checkpoint.retried)
        dead_letters.require_room(
            connection, processor, version, checkpoint.dead, checkpoint.most_dead
        )
        for output, rows in sorted(changes.sides.items()):
            sink.append_side(connection, layout, output, rows)
        steps = checkpoint.advances
        topic = steps[0].topic if steps else ""
        reached = {step.partition: step.new_offset for step in steps}
        outgoing = Outgoing(connection, layout, topic, reached, changes)
        outgoing.write()
        if checkpoint.building:
            sink.append(connection, layout, changes.rows)
        else:
            corrections = _merge(connection, layout, changes.rows, checkpoint.remerge)
        reach("rows_written")
        _finalize(connection, layout, outgoing, corrections, checkpoint.ends)
        reach("committing")
    reach("committed")
    rows_written = len(changes.rows) + sum(map(len, changes.sides.values()))
    return Written(rows_written, _records(corrections))


def pass_silence(
    engine: Engine,
    layout: Layout,
    topic: str,
    reached: Mapping[int, int],
    epochs: Mapping[int, int],
    ends: LogEnds,
) -> None:
    """Makes rows final that only silent partitions hold back, where no checkpoint does.

    ``reached`` is how far our partitions are committed, and ``epochs`` under what. They are kept
    there meanwhile, so that no promote goes by between what becomes final and what is sent.

    Raises:
        Fenced: a partition is no longer ours; nothing has become final.
        DatabaseUnavailable: nothing has become final, or nobody knows.
    """
    nothing = Changes(pl.DataFrame())
    held = {(topic, partition): epoch for partition, epoch in epochs.items()}
    with engine.begin() as connection:
        progress.hold(connection, layout.processor, layout.version, held)
        outgoing = Outgoing(connection, layout, topic, reached, nothing)
        _finalize(connection, layout, outgoing, nothing.rows, ends)


def _finalize(
    connection: Connection,
    layout: Layout,
    outgoing: Outgoing,
    corrections: pl.DataFrame,
    ends: LogEnds | None,
) -> None:
    """Raises the moment up to which rows are final, and sends out those that became so."""
    if layout.finality is None:
        return
    before = None
    if layout.hides:  # others count their corrections by the moment that is stored
        before = finality.hold(connection, layout.processor, layout.version)
    if ends is not None:
        finality.advance(
            connection,
            layout.processor,
            layout.version,
            layout.finality,
            spans=ends.spans,
            silent=ends.silent,
        )
    outgoing.write_final(before, corrections)


def _merge(
    connection: Connection, layout: Layout, rows: pl.DataFrame, remerge: Remerge | None
) -> pl.DataFrame:
    """Merges rows into their keys, and counts the corrections among their records.

    Returns:
        The rows that readers already saw, or should have seen, with CORRECTIONS.
    """
    if rows.is_empty() or APPLIED not in rows.columns or not layout.hides:
        sink.upsert(connection, layout, rows, remerge)
        return rows.clear()
    is_marked = any(column.name == CORRECTIONS for column in layout.columns)
    if not is_marked:  # other workers wait while the moment is held, so not longer than needed
        sink.upsert(connection, layout, rows, remerge)
    final_through = finality.hold(connection, layout.processor, layout.version)
    rows = with_corrections(rows, final_through)
    if is_marked:
        sink.upsert(connection, layout, rows, remerge)
    corrections = corrected(rows, final_through)
    finality.correct(connection, layout.processor, layout.version, _records(corrections))
    return corrections


def _records(corrections: pl.DataFrame) -> int:
    return int(corrections[CORRECTIONS].sum()) if len(corrections) else 0
