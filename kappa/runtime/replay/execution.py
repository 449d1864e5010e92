"""A replay: history into a version's tables, from offset zero or from where it stopped.

A replay of a version that is still being built goes on to the ends captured when it began; of
a built one it catches up with the present ends, merging rows into their keys.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Engine

from kappa.config import require_postgres
from kappa.errors import (
    BrokerUnavailable,
    DatabaseUnavailable,
    Deadlock,
    Fenced,
    IllegalTransition,
    KappaError,
    LockTimeout,
    RegistryUnavailable,
    UnknownSchema,
    WorkerDied,
)
from kappa.failpoints import reach
from kappa.runtime.outputs.registration import register_outputs
from kappa.runtime.processes import signature
from kappa.runtime.replay.ending import check_history_after, finish, outlasted
from kappa.runtime.replay.plan import Plan
from kappa.runtime.replay.pool import run_jobs
from kappa.runtime.worker.job import Job, Report, Rhythm
from kappa.tables import build, progress
from kappa.tables.engine import connect
from kappa.tables.progress import NewPartition
from kappa.versions import drain, records, timeline
from kappa.versions.lifecycle import UNBUILT, State
from kappa.versions.manifest import Run

DEFAULT_BATCH_SIZE = 1_000_000

CHECKPOINT_AFTER_S = 5.0
"""A checkpoint is due after this time at the latest, so that little is lost to a crash."""


@dataclass(frozen=True)
class Finished:
    """What a replay did.

    Attributes:
        read: what this run read, as opposed to earlier runs of the same build.
        rows: rows in the version's table now.
    """

    state: State
    read: Report
    rows: int
    seconds: float
    warnings: tuple[str, ...]


def execute(
    plan: Plan,
    *,
    workers: int = 1,
    batch_size: int = DEFAULT_BATCH_SIZE,
    rate_limit: float | None = None,
    listener: Callable[[Report], None] = lambda report: None,
) -> Finished:
    """Runs the plan to its end; a run that is cut short can be run again.

    ``rate_limit`` is in records per second, of all workers together.

    Raises:
        KappaError: a refusal, or a fault on the way. What was committed stays.
    """
    began = time.monotonic()
    engine = connect(require_postgres(plan.settings))
    total = Report()

    def listen(report: Report) -> None:
        nonlocal total
        total += report
        listener(report)

    try:
        plan = registered(plan)
        with engine.begin() as connection:
            begin(connection, plan)
            require_ends(connection, plan)
        reach("version_created")
        jobs = _jobs(plan, workers, batch_size, rate_limit)
        with failing(engine, plan):
            if jobs:
                run_jobs(jobs, plan.assembly, plan.registry, listen)
            check_history_after(plan)
            seconds = time.monotonic() - began
            run = Run(total.records, seconds, len(jobs), batch_size)
            state, rows = finish(engine, plan, run)
        reach("version_finished")
    finally:
        engine.dispose()
    seconds = time.monotonic() - began
    return Finished(state, total, rows, seconds, (*plan.warnings, *outlasted(plan, seconds)))


_NO_FAULT_OF_THE_BUILD = (
    BrokerUnavailable,
    DatabaseUnavailable,
    Deadlock,
    Fenced,
    LockTimeout,
    RegistryUnavailable,
    UnknownSchema,
    WorkerDied,
)
"""After these the build is where it was, and goes on when it is run again."""


@contextmanager
def failing(engine: Engine, plan: Plan) -> Iterator[None]:
    """A build that ends in the block with an error that stays becomes ``failed``, and says why."""
    try:
        yield
    except _NO_FAULT_OF_THE_BUILD:
        raise
    except KappaError as error:
        if plan.building:
            with suppress(KappaError):  # what went wrong first is what counts
                _fail(engine, plan, error)
        raise


def _fail(engine: Engine, plan: Plan, error: KappaError) -> None:
    name, version = plan.assembly.name, plan.assembly.version
    why = {"error": type(error).__name__, "message": str(error)}
    with engine.begin() as connection:
        if records.hold(connection, name, version) is State.BUILDING:
            records.transition(connection, name, version, State.FAILED, detail=why)


def registered(plan: Plan) -> Plan:
    """The plan with the schemas of its version's outputs, which a new version registers."""
    if plan.state is not None:
        return plan
    layout = register_outputs(plan.registry, plan.assembly.layout)
    return replace(plan, assembly=replace(plan.assembly, layout=layout))


def begin(connection: Connection, plan: Plan) -> None:
    """Makes the version, or goes on with it, and registers the partitions it does not know.

    Raises:
        IllegalTransition: another replay has ended the build since the plan was made, without
            these partitions.
        Fenced: it was aborted since, and there are partitions to add.
    """
    name, version = plan.assembly.name, plan.assembly.version
    if plan.state is State.DRAINING:  # since a promote that was cut short, perhaps
        drain.expire(connection, name, version, by=timeline.who())
    records.share(connection, name)
    if plan.state is None:
        _create(connection, plan)
    elif plan.state is State.FAILED:
        records.resume(connection, name, version)
    if plan.state is not None and plan.overridden:
        records.add_overrides(connection, name, version, plan.overridden)
    added = _register(connection, plan)
    # What was added refers to the version's row, so whoever ends the build waits for it. With
    # nothing added there is nothing to read past what the build ends with.
    if added and plan.building and drain.require_kept(connection, name, version) not in UNBUILT:
        raise IllegalTransition(
            f"{name} version {version} was built since this replay was planned, without partitions"
            " that the topic has by now",
            topic=plan.assembly.topic,
            hint="run it again: it catches up with them",
        )


def require_ends(connection: Connection, plan: Plan) -> None:
    """Passes if the plan has the ends that the build began with.

    What one replay reads past them could be lost when another, at the ends, finishes; and one that
    stops before them cannot finish.

    Raises:
        IllegalTransition: another replay has begun the build since the plan was made.
    """
    name, version = plan.assembly.name, plan.assembly.version
    found = progress.read(connection, name, version) if plan.building else ()
    ends = {row.partition: row.target_offset for row in found}
    for span in plan.spans:
        captured = ends.get(span.partition)
        if captured is not None and span.end != max(captured, span.start):
            raise IllegalTransition(
                f"another replay of {name} version {version} began while this one was planned",
                topic=span.topic,
                partition=span.partition,
                end=captured,
                planned=span.end,
                hint="let that one finish; or run this one again to take over from it, or both with"
                " --join to share the work",
            )


def _create(connection: Connection, plan: Plan) -> None:
    """Records the version and makes its empty tables."""
    assembly = plan.assembly
    plugin = assembly.loaded.plugin
    records.create(
        connection,
        assembly.name,
        assembly.version,
        fingerprint=assembly.fingerprint,
        declared_in=plugin.object_path,
        layout=assembly.layout,
        reader_schema_id=assembly.reader_schema_id,
        distribution=plugin.distribution,
        distribution_version=plugin.distribution_version,
        overrides=plan.overridden,
    )
    build.create(connection, assembly.layout)


def _register(connection: Connection, plan: Plan) -> int:
    """Adds the partitions the version does not know yet, with their ends while it is built.

    Returns how many there were.
    """
    return progress.register(
        connection,
        plan.assembly.name,
        plan.assembly.version,
        [
            NewPartition(
                span.topic,
                span.partition,
                plan.history.topic_id,
                span.start,
                span.end if plan.building else None,
            )
            for span in plan.spans
        ],
    )


def _jobs(plan: Plan, workers: int, batch_size: int, rate_limit: float | None) -> list[Job]:
    """The partitions with something to read, dealt to at most ``workers`` jobs."""
    waiting = [span for span in plan.spans if span.end > span.start]
    shares = [share for number in range(workers) if (share := waiting[number::workers])]
    each = None if rate_limit is None else rate_limit / max(len(shares), 1)
    rhythm = Rhythm(batch_size, CHECKPOINT_AFTER_S, each)
    places = tuple((span.topic, span.partition, span.end) for span in waiting)
    # What is still being built has ends of its own, past which there may be more to read.
    silent = [span for span in plan.spans if span.end == span.start and not plan.building]
    mine = signature(os.getpid())
    return [
        Job(
            settings=plan.settings,
            name=plan.assembly.name,
            version=plan.assembly.version,
            reader_schema_id=plan.assembly.reader_schema_id,
            partitions=tuple((span.topic, span.partition) for span in share),
            targets=tuple(span.end for span in share),
            building=plan.building,
            rhythm=rhythm,
            owner=mine,
            layout=plan.assembly.layout,
            spans=places,
            silent=tuple((span.topic, span.partition) for span in silent),
        )
        for share in shares
    ]
