"""``kappa status``: where every version stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from kappa.config import Settings, require_kafka, require_postgres
from kappa.errors import UnknownTopic
from kappa.log.history import topic_history
from kappa.tables import finality, progress, state
from kappa.tables.bookkeeping import require_current
from kappa.tables.engine import connect
from kappa.tables.progress import PartitionProgress
from kappa.versions import records
from kappa.versions.records import VersionRecord


@dataclass(frozen=True)
class VersionStatus:
    """Where one version stands.

    Attributes:
        serving: whether its processor's view selects from it.
        lag: offsets it has not read yet, up to the last stable ones; None if the topic is gone.
        watermark_base: the least of its partitions' greatest event times, ms; None before any.
        overrides: guards that were overridden for it, for good.
        final_through: windows that end by then are final; None before any is.
        corrections: how often a record of a partition that had been silent changed a window
            that was final.
        timer_due: when the earliest processing-time timer is due. A timer fires with the next
            record of its partition, so one that is overdue waits for that.
    """

    processor: str
    version: int
    state: str
    serving: bool
    topics: tuple[str, ...]
    records: int
    late: int
    dead: int
    filtered: int
    lag: int | None
    watermark_base: int | None
    overrides: tuple[str, ...]
    final_through: datetime | None
    corrections: int
    timer_due: datetime | None


@dataclass(frozen=True)
class _Found:
    """What the database says of one version."""

    record: VersionRecord
    partitions: Sequence[PartitionProgress]
    final: finality.Final
    timer_due: int | None


def status(settings: Settings) -> tuple[VersionStatus, ...]:
    """Every version that is recorded, by processor and number."""
    engine = connect(require_postgres(settings))
    try:
        with engine.connect() as connection:
            require_current(connection)
            active = {p.name: p.active_version for p in records.list_processors(connection)}
            found = [_find(connection, record) for record in records.list_versions(connection)]
    finally:
        engine.dispose()
    ends = _ends(settings, {row.topic for version in found for row in version.partitions})
    return tuple(
        _status(version, active[version.record.processor] == version.record.version, ends)
        for version in found
    )


def _find(connection: Connection, record: VersionRecord) -> _Found:
    name, version = record.processor, record.version
    return _Found(
        record=record,
        partitions=progress.read(connection, name, version),
        final=finality.read(connection, name, version),
        timer_due=state.next_processing_timer(connection, record.layout),
    )


Ends = dict[tuple[str, int], tuple[str, int]]
"""By topic and partition: the topic's id and its last stable offset."""


def _ends(settings: Settings, topics: set[str]) -> Ends:
    ends: Ends = {}
    for topic in sorted(topics):
        try:
            history = topic_history(require_kafka(settings), topic)
        except UnknownTopic:
            continue
        for part in history.partitions:
            ends[topic, part.partition] = (part.topic_id, part.end)
    return ends


def _status(found: _Found, serving: bool, ends: Ends) -> VersionStatus:
    record, rows = found.record, found.partitions
    times = [row.max_event_time for row in rows if row.max_event_time is not None]
    return VersionStatus(
        processor=record.processor,
        version=record.version,
        state=record.state.value,
        serving=serving,
        topics=tuple(sorted({row.topic for row in rows})),
        records=sum(row.records for row in rows),
        late=sum(row.late for row in rows),
        dead=sum(row.dead for row in rows),
        filtered=sum(row.filtered for row in rows),
        lag=_lag(rows, ends),
        watermark_base=min(times, default=None),
        overrides=record.overrides,
        final_through=found.final.through,
        corrections=found.final.corrections,
        timer_due=None if found.timer_due is None else _moment(found.timer_due),
    )


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _lag(rows: Sequence[PartitionProgress], ends: Ends) -> int | None:
    """None where a topic is gone or is another one of the same name."""
    lag = 0
    for row in rows:
        topic_id, end = ends.get((row.topic, row.partition), ("", 0))
        if topic_id != row.topic_id:
            return None
        lag += max(end - row.next_offset, 0)
    return lag
