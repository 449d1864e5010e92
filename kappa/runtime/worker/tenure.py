"""A tenure: partitions in one worker's hands, from their claim until it gives them up.

Fetching runs in the reader's thread and committing in another, so that while PostgreSQL takes
one checkpoint the next is being folded. At most one checkpoint is under way: its order is the
order of the log. Replays and live work are the same loop; a replay's partitions have an end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import numpy as np
import polars as pl
from sqlalchemy import Engine

from kappa.avro.decode import BatchDecoder
from kappa.errors import DatabaseUnavailable, UnknownSchema
from kappa.failpoints import reach
from kappa.log.reader import LogReader
from kappa.log.records import RawBatch
from kappa.processing.events import Fold
from kappa.runtime.worker.aside import Aside
from kappa.runtime.worker.checkpoint import Checkpoint, pass_silence
from kappa.runtime.worker.job import Report
from kappa.runtime.worker.keys import read_keys
from kappa.runtime.worker.lasting import commit_lasting
from kappa.runtime.worker.pace import Pace
from kappa.runtime.worker.partition import PartitionRun
from kappa.runtime.worker.spent import Spent
from kappa.runtime.worker.stride import Stride
from kappa.runtime.worker.terms import Terms
from kappa.tables import dead_letters

_LOOK_S = 0.2
"""How long to wait for records before looking whether to stop."""

_SILENCE_S = 1.0
"""How often to look whether a partition has become silent."""

Listener = Callable[[Report], None]


class Tenure:
    """Reads, folds and commits the partitions of ``runs`` until told to stop, or at their ends.

    Where their version is held, ``released`` says when that is over: the tenure ends then too.
    """

    def __init__(
        self,
        terms: Terms,
        runs: Sequence[PartitionRun],
        reader: LogReader,
        decoder: BatchDecoder,
        fold: Fold,
        engine: Engine,
        listener: Listener,
        spent: Spent | None = None,
        released: Callable[[], bool] = lambda: False,
    ) -> None:
        self.runs = runs
        self.committed = {run.place.partition: run.position for run in runs}
        self.aside = Aside()
        self._terms = terms
        self._reader = reader
        self._decoder = decoder
        self._fold = fold
        self._engine = engine
        self._listener = listener
        self._spent = spent or Spent()
        self._released = released
        self._pace = Pace(terms.rhythm.rate_limit)
        self._dead: list[pl.DataFrame] = []
        self._served = 0
        self._since = 0
        self._bytes = 0
        self._first: float | None = None
        self._stride = Stride(one_by_one=fold.one_by_one)
        self._looked_at = time.monotonic()
        self._knew_ends = False
        self._committing: Future[bool] | None = None

    @property
    def buffered_bytes(self) -> int:
        """Fetched and not folded yet, as fetched."""
        return self._reader.buffered_bytes

    def run(self, stopping: Callable[[], bool]) -> None:
        """Goes on until ``stopping`` or until every partition is at its end, then commits.

        Raises:
            Fenced: somebody else claimed a partition; what was not committed is dropped.
            KappaError: reading, decoding or committing failed; what was committed stays.
        """
        try:
            self._run(stopping)
        finally:
            self._spent.turn("work")

    def _run(self, stopping: Callable[[], bool]) -> None:
        self._spent.turn(None)
        with ThreadPoolExecutor(1, thread_name_prefix="commit") as committer:
            while left := [run for run in self.runs if not run.finished]:
                if stopping() or self._released():
                    break
                self._pace.spend(self._step(left), stopping)
                if self._committing is not None and self._committing.done():
                    self._settle()
                if self._due():
                    self._checkpoint(committer)
                elif self._is_silence_due():
                    self._looked_at = time.monotonic()
                    self._committing = committer.submit(self._look_for_silence)
            self._checkpoint(committer)
            self._settle()

    def _step(self, left: list[PartitionRun]) -> int:
        """Folds a stretch of one partition and counts its records; waits where there is none."""
        now = time.monotonic()
        turns = self._turns([run for run in left if not self.aside.waits(run.place.partition, now)])
        for run in turns:
            raw = run.waiting or self._reader.next(run.place, 0)
            if raw is not None:
                self._served += 1
                run.served = self._served
                until_due = self._terms.rhythm.batch_size - self._since
                return self._take(run, raw, self._stride.next(until_due, len(left)))
            if run.target is not None and self._reader.ended(run.place):
                run.position = run.target  # only markers or aborted records were left
                return 0
        self._spent.turn("records")
        self._reader.wait([run.place for run in turns], self._patience())
        self._spent.turn(None)
        return 0

    def _turns(self, left: list[PartitionRun]) -> list[PartitionRun]:
        """Whose turn it is, and who is next if that one has nothing to say.

        Of partitions that have an end, the one that is furthest behind in event time, which is
        waited for: partitions stay in step and a window's partials meet in memory, not in the
        database. Of those that have none, the one that was served longest ago: a flood of old or
        dead records in one must not keep the others waiting.
        """
        if left and left[0].target is not None:
            return [min(left, key=lambda run: run.behind)]
        return sorted(left, key=lambda run: run.served)

    def _patience(self) -> float:
        """How long to wait for records: until a checkpoint is due, and not for long."""
        if self._first is None:
            return _LOOK_S
        due = self._first + self._terms.rhythm.delay_s
        return min(max(due - time.monotonic(), 0.0), _LOOK_S)

    def _take(self, run: PartitionRun, waiting: RawBatch, most: int) -> int:
        """Folds at most so many of the records that wait, and counts them."""
        reach("fetched")
        keys_at = partial(read_keys, self._terms.kafka, run.topic_id, run.place)
        began = time.monotonic()
        if run.lacks is not None:
            most = 1  # enough to see whether its schema is there
        raw, run.waiting = waiting.cut(most)
        dead = run.fold(raw, self._decoder, self._fold, keys_at)
        if run.lacks is None:
            self.aside.take_back(run.place.partition)
        else:
            raw, run.waiting = self._set_aside(run, waiting, run.lacks)
        self._stride.took(len(raw.values), time.monotonic() - began)
        reach("folded")
        if len(dead):
            self._dead.append(dead)
        self._since += len(raw.values)
        self._bytes += raw.value_bytes
        if self._first is None and not run.settled:
            self._first = time.monotonic()
        return len(raw.values)

    def _set_aside(
        self, run: PartitionRun, waiting: RawBatch, error: UnknownSchema
    ) -> tuple[RawBatch, RawBatch | None]:
        """The records that were folded, and those from the one on that lacks its schema."""
        if not self._terms.sets_aside:
            raise error
        folded = int(np.searchsorted(waiting.offsets, run.position))
        if folded:
            self.aside.take_back(run.place.partition)
        self.aside.put(run.place.partition, error, time.monotonic())
        return waiting.cut(folded)

    def _due(self) -> bool:
        rhythm = self._terms.rhythm
        return (
            self._since >= rhythm.batch_size
            or self._bytes >= rhythm.batch_bytes
            or self._fold.full
            or (self._since > 0 and self._stride.has_grown)
            or (self._first is not None and time.monotonic() - self._first >= rhythm.delay_s)
        )

    def _checkpoint(self, committer: ThreadPoolExecutor) -> None:
        self._since, self._bytes, self._first = 0, 0, None
        if all(run.settled for run in self.runs):
            return
        changes = self._fold.flush()
        late = _by_partition(changes.late)
        steps = [
            step for run in self.runs if (step := run.checkpoint(late.get(run.place.partition, 0)))
        ]
        dead, self._dead = self._dead, []
        ends = self._terms.ends()
        checkpoint = Checkpoint(
            advances=[advance for advance, _ in steps],
            changes=changes,
            dead=pl.concat(dead) if dead else pl.DataFrame(schema=dead_letters.FRAME_SCHEMA),
            retried=[copy for run in self.runs for copy in run.take_applied()],
            most_dead=self._terms.limit.count,
            building=self._terms.building,
            remerge=self._terms.remerge,
            ends=ends,
        )
        size = sum(size for _, size in steps)
        self._settle()
        self._knew_ends = ends is not None
        self._committing = committer.submit(self._commit, checkpoint, size)

    def _is_silence_due(self) -> bool:
        """Whether something may have become final that no checkpoint says: because a partition is
        silent by now, or because nobody knew where the log ends when there was one.

        While a build goes on no partition counts as silent.
        """
        rule = self._terms.layout.finality
        return (
            rule is not None
            and not (rule.idle_after_ms is None and self._knew_ends)
            and not self._terms.building
            and self._first is None
            and self._committing is None
            and time.monotonic() - self._looked_at > _SILENCE_S
        )

    def _look_for_silence(self) -> bool:
        """Commits nothing that the fold has flushed: false."""
        ends = self._terms.ends()
        if ends is None:
            return False
        epochs = {run.place.partition: run.epoch for run in self.runs}
        with suppress(DatabaseUnavailable):
            pass_silence(
                self._engine,
                self._terms.layout,
                self.runs[0].place.topic,
                dict(self.committed),
                epochs,
                ends,
            )
            self._knew_ends = True
        return False

    def _settle(self) -> None:
        """Waits for the checkpoint under way; raises what it raised."""
        if self._committing is not None:
            self._spent.turn("database")
            try:
                flushed = self._committing.result()
            finally:
                self._committing = None
                self._spent.turn(None)
            if flushed:
                self._fold.settled()

    def _commit(self, checkpoint: Checkpoint, size_bytes: int) -> bool:
        """Commits what the fold has flushed: true."""
        began = time.monotonic()
        terms = self._terms
        written = commit_lasting(
            self._engine,
            terms.layout,
            checkpoint,
            patience_s=terms.patience_s,
            on_lost=terms.on_lost,
        )
        advances = checkpoint.advances
        self.committed |= {a.partition: a.new_offset for a in advances}
        self._listener(
            Report(
                offsets=sum(a.new_offset - a.old_offset for a in advances),
                records=sum(a.records for a in advances),
                late=sum(a.late for a in advances),
                dead=sum(a.dead for a in advances),
                filtered=sum(a.filtered for a in advances),
                size_bytes=size_bytes,
                rows=written.rows,
                corrections=written.corrections,
                commit_s=time.monotonic() - began,
            )
        )
        return True


def _by_partition(late: pl.DataFrame | None) -> dict[int, int]:
    """How many of the late records are of each partition."""
    if late is None:
        return {}
    return dict(late["_partition"].value_counts().iter_rows())
