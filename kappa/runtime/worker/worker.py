"""A worker with a job: a share of a version's partitions, from claim to last checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace

import polars as pl

from kappa.avro.decode import BatchDecoder
from kappa.config import Settings, require_kafka, require_postgres
from kappa.errors import Fenced
from kappa.failpoints import reach
from kappa.log.reader import LogReader
from kappa.plugins import find, load
from kappa.registry.topic import TopicRegistry
from kappa.runtime.assembly import Assembly, assemble, registry_of
from kappa.runtime.worker import holding
from kappa.runtime.worker.checkpoint import LogEnds
from kappa.runtime.worker.claiming import claim
from kappa.runtime.worker.job import Job
from kappa.runtime.worker.letters import StoredLetters
from kappa.runtime.worker.partition import PartitionRun
from kappa.runtime.worker.spent import Spent
from kappa.runtime.worker.steps import run_in_steps
from kappa.runtime.worker.store import PostgresStore
from kappa.runtime.worker.tenure import Listener, Tenure
from kappa.runtime.worker.terms import Terms
from kappa.tables.engine import connect
from kappa.tables.layout import Layout
from kappa.tables.progress import Partition
from kappa.tables.storable import check_storable

_PATIENCE_S = 60.0
"""How long a replay waits for a database that went away."""


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
    ends = LogEnds(job.spans, job.silent)
    terms = Terms(
        kafka=require_kafka(job.settings),
        layout=assembly.layout,
        remerge=assembly.bound.remerge,
        building=job.building,
        limit=assembly.bound.declaration.max_dead_letters,
        rhythm=job.rhythm,
        ends=lambda: ends,
        patience_s=_PATIENCE_S,
    )
    targets = dict(zip(job.partitions, job.targets, strict=True))
    looking = connect(require_postgres(job.settings))
    try:
        while targets:
            reached = _work(job, assembly, registry, terms, targets, listener)
            targets = {place: end for place, end in targets.items() if reached[place] < end}
            while targets and holding.stands(looking, assembly.layout, targets):
                time.sleep(holding.LOOK_S)
    finally:
        looking.dispose()


def _work(
    job: Job,
    assembly: Assembly,
    registry: TopicRegistry,
    terms: Terms,
    targets: dict[Partition, int],
    listener: Listener,
) -> dict[Partition, int]:
    """Reads to the targets, or to where the version is held; returns how far it came.

    Raises:
        Fenced: somebody else claimed a partition.
        TooManyDeadLetters: the next record is, or brings, one too many.
    """
    committed = dict.fromkeys(targets, 0)

    def begin(terms: Terms) -> AbstractContextManager[Tenure]:
        return taken_over(job.settings, assembly, registry, terms, targets, job.owner, listener)

    try:
        reached = run_in_steps(begin, terms, lambda: False)
        return {place: reached[place[1]] for place in targets}
    except Fenced as error:
        # A hold raises epochs and leaves the owner: what was not committed is read again.
        if error.detail.get("owner_now") != job.owner:
            raise
    return committed


@contextmanager
def taken_over(
    settings: Settings,
    assembly: Assembly,
    registry: TopicRegistry,
    terms: Terms,
    targets: Mapping[Partition, int | None],
    owner: str,
    listener: Listener,
    spent: Spent | None = None,
) -> Iterator[Tenure]:
    """Claims partitions, each to be read to its target or without end, and gets ready to.

    Raises:
        UnknownVersion: a partition is not registered.
        LockTimeout: somebody else holds the rows of the positions.
        DatabaseUnavailable: the database is away.
    """
    with ExitStack() as stack:
        # Claims and commits have a session of their own, always the same one: it is the one
        # that the offset rows name, and that whoever takes over may have to end.
        writing = connect(require_postgres(settings))
        stack.callback(writing.dispose)
        reading = connect(require_postgres(settings))
        stack.callback(reading.dispose)
        claimed = claim(writing, assembly.name, assembly.version, targets, owner)
        reach("claimed")
        letters = StoredLetters(reading, assembly.name, assembly.version, terms.limit)
        runs = [
            PartitionRun(claimed[place], holding.end_of(claimed[place], target), letters)
            for place, target in targets.items()
        ]
        fold = assembly.bound.fold(
            storable_in(assembly.layout), PostgresStore(reading, assembly.layout)
        )
        decoder = BatchDecoder(assembly.reader, registry.schema, columns=fold.reads)
        reader = stack.enter_context(_reader(terms, runs, with_keys=fold.reads_keys))
        released = holding.released(reading, assembly.layout, claimed)
        yield Tenure(terms, runs, reader, decoder, fold, writing, listener, spent, released)


def _reader(terms: Terms, runs: Sequence[PartitionRun], *, with_keys: bool) -> LogReader:
    ranges = {run.place: (run.position, run.target) for run in runs if not run.finished}
    topic_ids = {run.place.topic: run.topic_id for run in runs}
    return LogReader(terms.kafka, ranges, topic_ids=topic_ids, with_keys=with_keys)


def storable_in(layout: Layout) -> Callable[[pl.DataFrame], Iterable[tuple[int, str]]]:
    """A check of values against the columns they would be stored in."""
    columns = {column.name: column for column in layout.columns}

    def storable(frame: pl.DataFrame) -> Iterator[tuple[int, str]]:
        for refused in check_storable(frame, [columns[name] for name in frame.columns]):
            yield refused.position, f"{refused.column} {refused.reason}"

    return storable
