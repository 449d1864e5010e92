"""What a replay would do, and every reason to refuse it, found before anything is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from kappa import plugins
from kappa.config import Settings, require_kafka, require_postgres
from kappa.errors import (
    HistoryTruncated,
    OffsetOutOfRange,
    PartitionsChanged,
    TopicRecreated,
)
from kappa.log.history import TopicHistory, require_complete, topic_history
from kappa.registry.topic import TopicRegistry
from kappa.runtime.assembly import Assembly, assemble, registry_of
from kappa.tables import progress
from kappa.tables.bookkeeping import require_current
from kappa.tables.engine import connect
from kappa.tables.progress import PartitionProgress
from kappa.versions import records
from kappa.versions.keyed_layout import check_state
from kappa.versions.lifecycle import State
from kappa.versions.records import VersionRecord


@dataclass(frozen=True)
class Span:
    """What is to be read of one partition: offsets ``[start, end)``."""

    topic: str
    partition: int
    start: int
    end: int


@dataclass(frozen=True)
class Plan:
    """A replay that nothing speaks against.

    Attributes:
        state: the version's state now; None when it does not exist yet.
        building: whether the version's tables are still being built.
        begun_s: how long ago its build began, in seconds; zero unless it is being built.
        spans: one per partition, those with nothing to read included.
        overridden: guards that were overridden, to be recorded for good.
        warnings: what a person should know and nothing refuses.
    """

    settings: Settings
    registry: TopicRegistry
    assembly: Assembly
    history: TopicHistory
    state: State | None
    building: bool
    begun_s: float
    spans: tuple[Span, ...]
    overridden: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def offsets(self) -> int:
        """How many offsets there are to read."""
        return sum(span.end - span.start for span in self.spans)


def plan(
    settings: Settings, name: str, version: int | None, *, allow_truncated: bool = False
) -> Plan:
    """Looks at everything a replay needs and refuses what cannot end well.

    Raises:
        KappaError: any of the refusals of a replay.
    """
    loaded = plugins.load(plugins.find(name, version))
    history = topic_history(require_kafka(settings), loaded.declaration.source.topic)
    registry = registry_of(settings)
    engine = connect(require_postgres(settings))
    try:
        with engine.connect() as connection:
            require_current(connection)
            record = records.find(connection, loaded.plugin.name, loaded.plugin.version)
            assembly = assemble(loaded, registry, record.reader_schema_id if record else None)
            found = progress.read(connection, assembly.name, assembly.version)
    finally:
        engine.dispose()
    # What a version has begun to read is guarded by its own positions, see below.
    known = {row.partition for row in found}
    unread = replace(
        history, partitions=tuple(p for p in history.partitions if p.partition not in known)
    )
    overridden = require_complete(
        unread, accept_compacted=assembly.accepts_compacted, allow_truncated=allow_truncated
    )
    if record is not None:
        records.check_identity(record, assembly.fingerprint)
        check_state(record.layout, assembly.layout)
        # Its tables are as they were made, perhaps by an older kappa with other columns.
        assembly = replace(assembly, layout=record.layout)
        _check_positions(found, history)
        _check_partitions(found, history, assembly)
    building = record is None or record.state in (State.BUILDING, State.FAILED)
    return Plan(
        settings=settings,
        registry=registry,
        assembly=assembly,
        history=history,
        state=record.state if record else None,
        building=building,
        begun_s=_age_s(record) if record is not None and building else 0.0,
        spans=_spans(found, history, building=building),
        overridden=overridden,
        warnings=_warnings(history),
    )


def _age_s(record: VersionRecord) -> float:
    return (datetime.now(UTC) - record.created_at).total_seconds()


def _check_positions(found: tuple[PartitionProgress, ...], history: TopicHistory) -> None:
    ends = {part.partition: part for part in history.partitions}
    for row in found:
        part = ends.get(row.partition)
        if part is None or part.topic_id != row.topic_id:
            raise TopicRecreated(
                "the topic was deleted and created again since this version was built",
                topic=row.topic,
                partition=row.partition,
                hint="replay it as a new version: this one's rows are of the old topic",
            )
        if row.next_offset > part.high_watermark:
            raise OffsetOutOfRange(
                "the version has read further than the log now reaches",
                topic=row.topic,
                partition=row.partition,
                offset=row.next_offset,
                log_end=part.high_watermark,
                hint="the log lost records; replay a new version from what is left",
            )
        if row.next_offset < part.log_start:
            raise HistoryTruncated(
                "records that this version has not read yet are gone",
                topic=row.topic,
                partition=row.partition,
                offset=row.next_offset,
                log_start=part.log_start,
                hint="replay a new version with --allow-truncated",
            )


def _check_partitions(
    found: tuple[PartitionProgress, ...], history: TopicHistory, assembly: Assembly
) -> None:
    """Where a key decides the partition, a new partition moves keys away from their rows."""
    if assembly.bound.keyed and len(history.partitions) != len(found):
        raise PartitionsChanged(
            "the topic has other partitions than when this version was built",
            topic=history.topic,
            then=len(found),
            now=len(history.partitions),
            hint="replay a new version: keys now lie in other partitions",
        )


def _spans(
    found: tuple[PartitionProgress, ...], history: TopicHistory, *, building: bool
) -> tuple[Span, ...]:
    rows = {row.partition: row for row in found}
    spans = []
    for part in history.partitions:
        row = rows.get(part.partition)
        start = row.next_offset if row else part.log_start
        captured = row.target_offset if row and building else None
        end = part.end if captured is None else captured
        spans.append(Span(part.topic, part.partition, start, max(start, end)))
    return tuple(spans)


def _warnings(history: TopicHistory) -> tuple[str, ...]:
    if history.log_append_time:
        return ()
    return (
        f"{history.topic} has timestamps of its producers: set message.timestamp.type to"
        " LogAppendTime, or a wrong producer clock can make records dead letters",
    )
