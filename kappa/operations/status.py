"""``kappa status``: where every version stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kappa.config import Settings, require_kafka, require_postgres
from kappa.errors import UnknownTopic
from kappa.log.history import topic_history
from kappa.tables import progress
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


def status(settings: Settings) -> tuple[VersionStatus, ...]:
    """Every version that is recorded, by processor and number."""
    engine = connect(require_postgres(settings))
    try:
        with engine.connect() as connection:
            require_current(connection)
            active = {p.name: p.active_version for p in records.list_processors(connection)}
            found = [
                (record, progress.read(connection, record.processor, record.version))
                for record in records.list_versions(connection)
            ]
    finally:
        engine.dispose()
    ends = _ends(settings, {row.topic for _, rows in found for row in rows})
    return tuple(
        _status(record, rows, active[record.processor] == record.version, ends)
        for record, rows in found
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


def _status(
    record: VersionRecord, rows: Sequence[PartitionProgress], serving: bool, ends: Ends
) -> VersionStatus:
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
    )


def _lag(rows: Sequence[PartitionProgress], ends: Ends) -> int | None:
    """None where a topic is gone or is another one of the same name."""
    lag = 0
    for row in rows:
        topic_id, end = ends.get((row.topic, row.partition), ("", 0))
        if topic_id != row.topic_id:
            return None
        lag += max(end - row.next_offset, 0)
    return lag
