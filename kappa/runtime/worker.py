"""A worker: claims partitions, folds their records in event-time step, commits checkpoints.

Fetching runs in the reader's thread and committing in another, so that while PostgreSQL takes
one checkpoint the next is being folded. At most one checkpoint is under way: its order is the
order of the log.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import polars as pl
from sqlalchemy import Engine

from kappa.avro.decode import BatchDecoder
from kappa.config import require_kafka, require_postgres
from kappa.log.reader import LogReader
from kappa.log.records import RawBatch
from kappa.plugins import find, load
from kappa.processing.events import Fold
from kappa.registry.topic import TopicRegistry
from kappa.runtime.assembly import Assembly, assemble, registry_of
from kappa.runtime.checkpoint import Checkpoint, commit
from kappa.runtime.job import Job, Report
from kappa.runtime.keys import read_keys
from kappa.runtime.partition import PartitionRun
from kappa.runtime.store import PostgresStore
from kappa.tables import dead_letters, progress
from kappa.tables.engine import connect
from kappa.tables.layout import Layout
from kappa.tables.storable import check_storable

CHECKPOINT_AFTER_S = 5.0
"""A checkpoint is due after this time at the latest, so that little is lost to a crash."""

SHORTEST_STRIDE = 8_192
"""Records folded at once, at least, unless a checkpoint comes first."""

Listener = Callable[[Report], None]


def run_job(job: Job, listener: Listener) -> None:
    """Does one job from claim to last checkpoint; ``listener`` hears of every checkpoint.

    Raises:
        Fenced: somebody else claimed a partition of the job.
        KappaError: reading, decoding or committing failed; what was committed stays, and
            the same job run again goes on from there.
    """
    registry = registry_of(job.settings)
    loaded = load(find(job.name, job.version))
    assembly = assemble(loaded, registry, job.reader_schema_id)
    run_assembled(job, replace(assembly, layout=job.layout), registry, listener)


def run_assembled(
    job: Job, assembly: Assembly, registry: TopicRegistry, listener: Listener
) -> None:
    """``run_job`` where its version has been put together already."""
    engine = connect(require_postgres(job.settings))
    try:
        runs = _claim(engine, job)
        ranges = {run.place: (run.position, run.target) for run in runs if not run.finished}
        topic_ids = {run.place.topic: run.topic_id for run in runs}
        store = PostgresStore(engine, assembly.layout)
        fold = assembly.bound.fold(storable_in(assembly.layout), store)
        decoder = BatchDecoder(assembly.reader, registry.schema, columns=fold.reads)
        kafka = require_kafka(job.settings)
        with LogReader(kafka, ranges, topic_ids=topic_ids, with_keys=fold.reads_keys) as reader:
            _Worker(job, assembly, engine, decoder, fold, listener).run(runs, reader)
    finally:
        engine.dispose()


def storable_in(layout: Layout) -> Callable[[pl.DataFrame], Iterable[tuple[int, str]]]:
    """A check of values against the columns they would be stored in."""
    columns = {column.name: column for column in layout.columns}

    def storable(frame: pl.DataFrame) -> Iterator[tuple[int, str]]:
        for refused in check_storable(frame, [columns[name] for name in frame.columns]):
            yield refused.position, f"{refused.column} {refused.reason}"

    return storable


def _claim(engine: Engine, job: Job) -> list[PartitionRun]:
    with engine.begin() as connection:
        claimed = progress.claim(connection, job.name, job.version, job.partitions, job.owner)
    targets = dict(zip(job.partitions, job.targets, strict=True))
    return [PartitionRun(claim, targets[place]) for place, claim in claimed.items()]


class _Worker:
    def __init__(
        self,
        job: Job,
        assembly: Assembly,
        engine: Engine,
        decoder: BatchDecoder,
        fold: Fold,
        listener: Listener,
    ) -> None:
        self._job = job
        self._kafka = require_kafka(job.settings)
        self._layout = assembly.layout
        self._remerge = assembly.bound.remerge
        self._engine = engine
        self._decoder = decoder
        self._fold = fold
        self._listener = listener
        self._dead: list[pl.DataFrame] = []
        self._since = 0
        self._last = time.monotonic()
        self._committing: Future[None] | None = None

    def run(self, runs: list[PartitionRun], reader: LogReader) -> None:
        with ThreadPoolExecutor(1, thread_name_prefix="commit") as committer:
            while unfinished := [run for run in runs if not run.finished]:
                # The partition that is furthest behind in event time goes next: partitions
                # stay in step and a window's partials meet in memory, not in the database.
                run = min(unfinished, key=lambda run: run.behind)
                self._step(run, reader, len(unfinished))
                if self._due():
                    self._checkpoint(runs, committer)
            self._checkpoint(runs, committer)
            self._settle()

    def _step(self, run: PartitionRun, reader: LogReader, partitions: int) -> None:
        raw = run.waiting or reader.next(run.place)
        if raw is None:
            run.position = run.target  # only markers or aborted records were left
            return
        raw, run.waiting = raw.cut(self._stride(partitions))
        self._take(run, raw)

    def _stride(self, partitions: int) -> int:
        """How many records of one partition to fold before looking who is furthest behind.

        Long strides are cheap. Near a checkpoint they get shorter: what partitions are apart
        then are windows written in several parts, to be merged when the build ends.
        """
        left = self._job.batch_size - self._since
        return max(min(left, max(left // (2 * partitions), SHORTEST_STRIDE)), 1)

    def _take(self, run: PartitionRun, raw: RawBatch) -> None:
        keys_at = partial(read_keys, self._kafka, run.topic_id, run.place)
        dead = run.fold(raw, self._decoder, self._fold, keys_at)
        if len(dead):
            self._dead.append(dead)
        self._since += len(raw.values)

    def _due(self) -> bool:
        return (
            self._since >= self._job.batch_size
            or self._fold.full
            or time.monotonic() - self._last > CHECKPOINT_AFTER_S
        )

    def _checkpoint(self, runs: list[PartitionRun], committer: ThreadPoolExecutor) -> None:
        self._since, self._last = 0, time.monotonic()
        if all(run.settled for run in runs):
            return
        changes = self._fold.flush()
        late = _by_partition(changes.late)
        steps = [step for run in runs if (step := run.checkpoint(late.get(run.place.partition, 0)))]
        dead, self._dead = self._dead, []
        checkpoint = Checkpoint(
            advances=[advance for advance, _ in steps],
            changes=changes,
            dead=pl.concat(dead) if dead else pl.DataFrame(schema=dead_letters.FRAME_SCHEMA),
            building=self._job.building,
            remerge=self._remerge,
            spans=self._job.spans,
            silent=self._job.silent,
        )
        size = sum(size for _, size in steps)
        self._settle()
        self._committing = committer.submit(self._commit, checkpoint, size)

    def _settle(self) -> None:
        """Waits for the checkpoint under way; raises what it raised."""
        if self._committing is not None:
            self._committing.result()
            self._committing = None
            self._fold.settled()

    def _commit(self, checkpoint: Checkpoint, size_bytes: int) -> None:
        commit(self._engine, self._layout, checkpoint)
        advances = checkpoint.advances
        self._listener(
            Report(
                offsets=sum(a.new_offset - a.old_offset for a in advances),
                records=sum(a.records for a in advances),
                late=sum(a.late for a in advances),
                dead=sum(a.dead for a in advances),
                filtered=sum(a.filtered for a in advances),
                size_bytes=size_bytes,
            )
        )


def _by_partition(late: pl.DataFrame | None) -> dict[int, int]:
    """How many of the late records are of each partition."""
    if late is None:
        return {}
    return dict(late["_partition"].value_counts().iter_rows())
