"""``kappa replay``: rebuild a version from history, or catch it up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kappa.config import Settings, require_postgres
from kappa.errors import KappaError
from kappa.runtime.replay.estimate import estimate
from kappa.runtime.replay.execution import DEFAULT_BATCH_SIZE, execute
from kappa.runtime.replay.join import join
from kappa.runtime.replay.plan import Plan, examine, plan
from kappa.runtime.replay.sealing import seal
from kappa.runtime.worker.job import Report
from kappa.tables.engine import connect

__all__ = ["DEFAULT_BATCH_SIZE", "DryRun", "PlannedReplay", "Replayed", "plan_replay", "replay"]


@dataclass(frozen=True)
class PlannedReplay:
    """What a replay would read.

    Attributes:
        state: the version's state now, ``new`` for one that does not exist yet.
        records: offsets to read, an upper bound of the records.
        partitions: per partition its offsets ``[start, end)``.
        refusals: everything for which it would be refused.
    """

    processor: str
    version: int
    state: str
    topic: str
    records: int
    partitions: tuple[dict[str, int], ...]
    reader_schema_id: int
    overridden: tuple[str, ...]
    warnings: tuple[str, ...]
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True)
class DryRun:
    """What a replay would read and take, and all that speaks against it.

    Attributes:
        bytes: read from the brokers, as they lie there; None if these do not say.
        seconds: at the rate of the last build; None before the first.
        disk_bytes: for the tables, going by the last version; None where there is none, or the
            version is built already.
        schema_ids: schemas that records were or may be written with.
    """

    plan: PlannedReplay
    bytes: int | None
    seconds: float | None
    disk_bytes: int | None
    schema_ids: tuple[int, ...]


@dataclass(frozen=True)
class Refusal:
    """A reason for which a replay would be refused: the error's class, and what it says."""

    error: str
    message: str
    hint: str


@dataclass(frozen=True)
class Replayed:
    """What a replay did: records read by this run, rows the table now has."""

    processor: str
    version: int
    state: str
    records: int
    rows: int
    late: int
    dead: int
    filtered: int
    bytes: int
    seconds: float
    records_per_second: float
    warnings: tuple[str, ...]


def plan_replay(
    settings: Settings,
    name: str,
    version: int | None,
    *,
    allow_truncated: bool,
    allow_derived: bool = False,
) -> DryRun:
    """Finds what a replay would do, and all for which it would be refused. Writes nothing.

    Raises:
        KappaError: it cannot even be looked at.
    """
    planned, refusals = examine(
        settings, name, version, allow_truncated=allow_truncated, allow_derived=allow_derived
    )
    known = estimate(planned)
    return DryRun(
        plan=_planned(planned, refusals),
        bytes=known.size_bytes,
        seconds=known.seconds,
        disk_bytes=known.disk_bytes,
        schema_ids=known.schema_ids,
    )


def replay(
    settings: Settings,
    name: str,
    version: int | None,
    *,
    workers: int,
    batch_size: int,
    allow_truncated: bool,
    rate_limit: float | None = None,
    shared: bool = False,
    allow_derived: bool = False,
    on_plan: Callable[[PlannedReplay], None],
    on_progress: Callable[[int], None],
) -> Replayed:
    """Replays a version; ``on_progress`` hears how many offsets were passed since it last did.

    Args:
        workers: processes; one if the replay is ``shared``.
        batch_size: records between two checkpoints, at most.
        rate_limit: records per second, at most on average; of this command.
        shared: whether other processes and hosts take part, by the same command.

    Raises:
        KappaError: a refusal, or a fault on the way; run again, it goes on from there.
    """
    planned = plan(
        settings, name, version, allow_truncated=allow_truncated, allow_derived=allow_derived
    )
    on_plan(_planned(planned))

    def listen(report: Report) -> None:
        on_progress(report.offsets)

    if shared:
        finished = join(planned, batch_size=batch_size, rate_limit=rate_limit, listener=on_progress)
    else:
        finished = execute(
            planned,
            workers=workers,
            batch_size=batch_size,
            rate_limit=rate_limit,
            listener=listen,
        )
    read = finished.read
    return Replayed(
        processor=planned.assembly.name,
        version=planned.assembly.version,
        state=finished.state.value,
        records=read.records,
        rows=finished.rows,
        late=read.late,
        dead=read.dead,
        filtered=read.filtered,
        bytes=read.size_bytes,
        seconds=round(finished.seconds, 3),
        records_per_second=round(read.records / finished.seconds, 1),
        warnings=(*finished.warnings, *_sealed(settings, planned)),
    )


def _sealed(settings: Settings, planned: Plan) -> tuple[str, ...]:
    """Completes the manifest; a warning where that fails, because the build stands without it."""
    engine = connect(require_postgres(settings))
    try:
        seal(engine, planned.assembly.name, planned.assembly.version)
    except KappaError as error:
        return (f"the manifest has no digest of the rows: {error}",)
    finally:
        engine.dispose()
    return ()


def _planned(planned: Plan, refusals: Sequence[KappaError] = ()) -> PlannedReplay:
    return PlannedReplay(
        processor=planned.assembly.name,
        version=planned.assembly.version,
        state=planned.state.value if planned.state else "new",
        topic=planned.assembly.topic,
        records=planned.offsets,
        partitions=tuple(
            {"partition": span.partition, "start": span.start, "end": span.end}
            for span in planned.spans
        ),
        reader_schema_id=planned.assembly.reader_schema_id,
        overridden=planned.overridden,
        warnings=planned.warnings,
        refusals=tuple(Refusal(type(error).__name__, str(error), error.hint) for error in refusals),
    )
