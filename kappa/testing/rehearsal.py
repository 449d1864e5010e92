"""A version at work in memory: what a worker does with a fold, without a broker or a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from kappa.eventtime.watermark import PartitionClock
from kappa.processing.events import Changes, Events
from kappa.testing.kinds import Kind, Passing


@dataclass(frozen=True)
class _Checkpoint:
    """What is flushed and not committed yet, and the batches it is of."""

    changes: Changes
    dead: Sequence[pl.DataFrame]
    clocks: Mapping[int, PartitionClock]
    batches: Sequence[Events | Passing]


class Rehearsal:
    """One version: its fold, its clocks and its tables.

    As in a worker a checkpoint is flushed first and committed later, and after a restart all
    is read again that no commit had yet.

    Attributes:
        tables: what is committed.
        final_through: up to when windows are final, ms, by what is committed; only rises.
        clocks: of each partition read, as far as it is folded.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.tables = kind.tables()
        self.final_through: int | None = None
        self._committed: Mapping[int, PartitionClock] = {}
        self._start()

    def _start(self) -> None:
        self._fold = self._kind.fold(self.tables)
        self.clocks = dict(self._committed)
        self._batches: list[Events | Passing] = []
        self._dead: list[pl.DataFrame] = []
        self._under_way: _Checkpoint | None = None

    def take(self, batch: Events | Passing) -> None:
        """Folds in a batch, or time that passes."""
        clock = self.clocks.get(batch.partition, PartitionClock())
        if isinstance(batch, Passing):
            outcome = self._kind.passed(self._fold, batch, clock)
        else:
            outcome = self._fold.apply(batch, clock)
        self.clocks[batch.partition] = outcome.clock
        self._batches.append(batch)
        if len(outcome.dead):
            partition = pl.lit(batch.partition, pl.Int32).alias("@partition")
            self._dead.append(outcome.dead.select(partition, pl.all()))

    def flush(self) -> None:
        """Begins a checkpoint; as in a worker, the one before may end only now."""
        changes = self._fold.flush()
        self.commit()
        self._under_way = _Checkpoint(changes, self._dead, dict(self.clocks), self._batches)
        self._batches, self._dead = [], []

    def commit(self) -> None:
        """Ends the checkpoint under way, if there is one."""
        if self._under_way is None:
            return
        done, self._under_way = self._under_way, None
        self.tables.commit(done.changes, done.dead)
        self._committed = done.clocks
        self._fold.settled()
        reached = self._kind.final_through(done.clocks)
        if reached is not None:
            before = self.final_through
            self.final_through = reached if before is None else max(before, reached)

    def checkpoint(self) -> None:
        """Flushes and commits."""
        self.flush()
        self.commit()

    def restart(self) -> None:
        """Forgets what is in memory, a checkpoint under way too; reads again from the last."""
        lost = self._under_way.batches if self._under_way else ()
        again = [*lost, *self._batches]
        self._start()
        for batch in again:
            self.take(batch)
