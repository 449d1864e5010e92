"""Replaying a version once more, beside its tables, to see whether history gives the same rows.

Its offsets and the digests of its tables are read in one snapshot; nobody has to wait. Then all
of its history up to those offsets is replayed in a schema of its own, which is dropped again.
Nothing leaves for other systems: the version there publishes no outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pydantic import SecretStr
from sqlalchemy import Engine

from kappa import plugins
from kappa.config import PostgresSettings, Settings, require_kafka, require_postgres
from kappa.errors import CompactedTopic, HistoryTruncated, IllegalTransition
from kappa.log.history import TopicHistory, topic_history
from kappa.runtime.assembly import assemble, registry_of
from kappa.runtime.checks import check_positions
from kappa.runtime.replay.execution import execute
from kappa.runtime.replay.plan import Plan, Span
from kappa.runtime.replay.sealing import stands_as_built
from kappa.runtime.worker.job import Report
from kappa.tables import contents, progress
from kappa.tables.engine import connect
from kappa.tables.progress import PartitionProgress
from kappa.tables.scratch import scratch
from kappa.versions import records
from kappa.versions.lifecycle import BUILT
from kappa.versions.records import VersionRecord

WORKERS = 2
MOST_RECORDS = 250_000
LEAST_CHECKPOINTS = 7
"""Rows and windows are to be cut in other places than by the build, also where there are few."""


@dataclass(frozen=True)
class Stood:
    """A version at one moment.

    Attributes:
        digests: by output, see kappa.tables.contents.
    """

    record: VersionRecord
    positions: tuple[PartitionProgress, ...]
    digests: dict[str, str]

    @property
    def built(self) -> str | None:
        """The digest that its build has left; None where there is none, or it has read on."""
        if self.record.manifest is None or not stands_as_built(self.record, self.positions):
            return None
        digest: str | None = self.record.manifest["digest"]
        return digest


@dataclass(frozen=True)
class Repeated:
    """What a second replay came to: ``digests`` by output, and how it was done."""

    digests: dict[str, str]
    records: int
    workers: int
    batch_size: int
    seconds: float


def look(engine: Engine, name: str, version: int) -> Stood:
    """The version as it is now.

    Raises:
        UnknownVersion, IllegalTransition: it is not built, or retired.
    """
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        record = records.require(connection, name, version)
        if record.state not in BUILT:
            raise IllegalTransition(
                f"{name} version {version} is {record.state.value} and cannot be verified",
                hint=f"kappa versions list {name}",
            )
        found = progress.read(connection, name, version)
        return Stood(record, found, contents.digests(connection, record.layout))


def repeat(
    settings: Settings,
    stood: Stood,
    *,
    workers: int | None = None,
    batch_size: int | None = None,
    on_plan: Callable[[int], None] = lambda offsets: None,
    listener: Callable[[Report], None] = lambda report: None,
) -> Repeated:
    """Replays the version's history up to where it stood, elsewhere.

    Args:
        workers: processes; other than the build's if None.
        batch_size: records between two checkpoints, at most; other than the build's if None.
        on_plan: hears how many offsets there are to read.

    Raises:
        FingerprintChanged: the installed code is not that of the version.
        HistoryTruncated, CompactedTopic: what it was made of is no longer all there.
        KappaError: reading, folding or writing failed.
    """
    planned = _plan(settings, stood)
    on_plan(planned.offsets)
    processes = workers or _unlike(WORKERS, stood.record, "workers")
    least = min(MOST_RECORDS, max(planned.offsets // LEAST_CHECKPOINTS, 1))
    size = batch_size or _unlike(least, stood.record, "batch_size")
    with scratch(require_postgres(settings)) as url:
        elsewhere = settings.model_copy(update={"postgres": PostgresSettings(url=SecretStr(url))})
        plan = replace(planned, settings=elsewhere)
        done = execute(plan, workers=processes, batch_size=size, listener=listener)
        engine = connect(url)
        try:
            with engine.connect() as connection:
                found = contents.digests(connection, plan.assembly.layout)
        finally:
            engine.dispose()
    return Repeated(found, done.read.records, processes, size, done.seconds)


def _unlike(number: int, record: VersionRecord, name: str) -> int:
    """The number, or half of it where the build had the same one."""
    built = (record.manifest or {}).get("last_run", {}).get(name)
    return number if number != built else number // 2 or 2


def _plan(settings: Settings, stood: Stood) -> Plan:
    """A build of the same version, as if it had never been, up to where it stood."""
    record = stood.record
    registry = registry_of(settings)
    loaded = plugins.load(plugins.find(record.processor, record.version))
    assembly = assemble(loaded, registry, record.reader_schema_id)
    records.check_identity(record, assembly.fingerprint)
    history = topic_history(require_kafka(settings), assembly.topic)
    check_positions(stood.positions, history)
    _require_history(stood.positions, history)
    return Plan(
        settings=settings,
        registry=registry,
        assembly=replace(assembly, layout=replace(record.layout, publishes=())),
        history=history,
        state=None,
        building=True,
        begun_s=0.0,
        spans=tuple(
            Span(row.topic, row.partition, row.start_offset, row.next_offset)
            for row in stood.positions
        ),
        overridden=(),
        warnings=(),
    )


def _require_history(found: tuple[PartitionProgress, ...], history: TopicHistory) -> None:
    """Passes if all that the version has read can be read again."""
    if history.compacted:
        raise CompactedTopic(
            "the topic is compacted: what a version was made of may have been replaced since",
            topic=history.topic,
            hint="only a new version can be built from what is left",
        )
    starts = {part.partition: part.log_start for part in history.partitions}
    for row in found:
        if row.next_offset > row.start_offset and starts[row.partition] > row.start_offset:
            raise HistoryTruncated(
                "records that the version was made of are gone",
                topic=row.topic,
                partition=row.partition,
                offset=row.start_offset,
                log_start=starts[row.partition],
                hint="what is gone cannot be replayed, here or in a new version",
            )
