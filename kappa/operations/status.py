"""``kappa status``: where every version stands."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from kappa.config import Settings, require_kafka
from kappa.errors import UnknownTopic
from kappa.log.history import topic_history
from kappa.operations.database import reading
from kappa.tables import finality, holds, progress, relays, state, workers
from kappa.tables.progress import PartitionProgress
from kappa.tables.workers import Seen
from kappa.versions import records
from kappa.versions.lifecycle import State
from kappa.versions.records import VersionRecord


@dataclass(frozen=True)
class Failure:
    """An error that is not got over: its class, what it says, and since when it is the last one."""

    error: str
    message: str
    hint: str
    at: datetime


@dataclass(frozen=True)
class OutputStatus:
    """An output that a relay sends, or has sent.

    Attributes:
        owner: the relay that claimed it last, or has met the failure without claiming it.
        seen_at: when the relay last said that it is there; None where it has left.
        failure: what keeps it from being sent; None where all is well.
    """

    output: str
    owner: str
    seen_at: datetime | None
    failure: Failure | None


@dataclass(frozen=True)
class WorkerStatus:
    """A worker that reported within the last half minute.

    Attributes:
        bottleneck: ``source``, ``processing`` or ``database``; None while it has nothing to do.
    """

    owner: str
    state: str
    bottleneck: str | None
    records_per_second: float
    resident_bytes: int | None
    started_at: datetime
    seen_at: datetime
    failure: Failure | None


@dataclass(frozen=True)
class VersionStatus:
    """Where one version stands.

    Attributes:
        serving: whether its processor's view selects from it.
        lag: offsets it has not read yet, up to the last stable ones; None if the topic is gone.
        watermark_base: the least of its partitions' greatest event times, ms; None before any.
        overrides: guards that were overridden for it, for good.
        final_through: windows that end by then are final; None before any is.
        corrections: how often a record of a partition that had been silent, or had none before,
            changed a window that was final.
        timer_due: when the earliest processing-time timer is due. A timer fires with the next
            record of its partition, so one that is overdue waits for that.
        event_timer_due: when, in event time, the earliest event-time timer or the first end of
            a ttl is due. It waits until records have brought the watermark of its partition there.
        held_until: when it goes on at the latest, where a comparison or a promote holds it at
            the offsets of another version.
        lag_seconds: how far event time is behind the clock in the partition that is furthest
            behind, of those with something left to read; 0 if none has, None if unknown.
        workers: who follows it now.
        records_per_second: of all its workers.
        bottleneck: what most of its workers wait for; None if nobody waits.
        failure: the last error that a worker of it has met, or has ended with, and that the
            version has not got over since.
        outputs: those of its processor that relays send, where it serves.
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
    event_timer_due: datetime | None
    held_until: datetime | None
    lag_seconds: float | None
    workers: tuple[WorkerStatus, ...]
    records_per_second: float
    bottleneck: str | None
    failure: Failure | None
    outputs: tuple[OutputStatus, ...]


@dataclass(frozen=True)
class _Found:
    """What the database says of one version."""

    record: VersionRecord
    partitions: Sequence[PartitionProgress]
    final: finality.Final
    timers: state.NextTimers
    held_until: datetime | None
    workers: tuple[WorkerStatus, ...]
    failures: tuple[Failure, ...]
    outputs: tuple[OutputStatus, ...]


def status(
    settings: Settings, names: Collection[str] = (), *, retired: bool = False
) -> tuple[VersionStatus, ...]:
    """Every version that is recorded, by processor and number.

    Args:
        names: of these processors; of all if none is named.
        retired: those that are retired too.

    Raises:
        UnknownVersion: of one of the names nothing is recorded.
    """
    with reading(settings) as connection:
        active = {p.name: p.active_version for p in records.list_processors(connection)}
        for name in names:
            if name not in active:
                raise records.unrecorded(connection, name)
        found = [
            _find(connection, record)
            for record in records.list_versions(connection)
            if (not names or record.processor in names)
            and (retired or record.state is not State.RETIRED)
        ]
    ends = _ends(settings, {row.topic for version in found for row in version.partitions})
    return tuple(
        _status(version, active[version.record.processor] == version.record.version, ends)
        for version in found
    )


def _find(connection: Connection, record: VersionRecord) -> _Found:
    name, version = record.processor, record.version
    here = tuple(_worker(seen) for seen in workers.read(connection, name, version))
    return _Found(
        record=record,
        partitions=progress.read(connection, name, version),
        final=finality.read(connection, name, version),
        timers=state.next_timers(connection, record.layout),
        held_until=holds.expiry(connection, name, version),
        workers=here,
        failures=tuple(
            failure
            for seen in workers.failures(connection, name, version)
            if (failure := _failure(seen.row.last_error, seen.last_error_at)) is not None
        ),
        outputs=tuple(
            OutputStatus(
                row.output, row.owner, row.seen_at, _failure(row.last_error, row.last_error_at)
            )
            for row in relays.read(connection, name)
            if record.layout.publication(row.output) is not None
        ),
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
        timer_due=_moment(found.timers.processing),
        event_timer_due=_moment(found.timers.event),
        held_until=found.held_until,
        lag_seconds=_lag_seconds(rows, ends),
        workers=found.workers,
        records_per_second=round(sum(w.records_per_second for w in found.workers), 1),
        bottleneck=_bottleneck(found.workers),
        failure=max(
            (*found.failures, *(w.failure for w in found.workers if w.failure)),
            key=lambda failure: failure.at,
            default=None,
        ),
        outputs=found.outputs if serving else (),
    )


def _worker(seen: Seen) -> WorkerStatus:
    row = seen.row
    return WorkerStatus(
        owner=row.owner,
        state=row.state,
        bottleneck=row.bottleneck,
        records_per_second=row.records_per_second,
        resident_bytes=row.resident_bytes,
        started_at=row.started_at,
        seen_at=seen.seen_at,
        failure=_failure(row.last_error, seen.last_error_at),
    )


def _failure(error: dict[str, Any] | None, at: datetime | None) -> Failure | None:
    if error is None or at is None:
        return None
    said = {name: str(error.get(name, "")) for name in ("class", "message", "hint")}
    return Failure(said["class"], said["message"], said["hint"], at)


def _bottleneck(found: Sequence[WorkerStatus]) -> str | None:
    """The one most workers name; of equals the first by name, so that it does not flicker."""
    named = Counter(sorted(w.bottleneck for w in found if w.bottleneck is not None))
    return named.most_common(1)[0][0] if named else None


def _moment(ms: int | None) -> datetime | None:
    """None for what lies beyond the calendar, too: such a timer is never due."""
    try:
        return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _lag(rows: Sequence[PartitionProgress], ends: Ends) -> int | None:
    """None where a topic is gone or is another one of the same name."""
    left = [_left(row, ends) for row in rows]
    return None if None in left else sum(offsets or 0 for offsets in left)


def _lag_seconds(rows: Sequence[PartitionProgress], ends: Ends) -> float | None:
    left = [_left(row, ends) for row in rows]
    if None in left:
        return None
    behind = [row.max_event_time for row, offsets in zip(rows, left, strict=True) if offsets]
    if not behind:
        return 0.0
    times = [at for at in behind if at is not None]
    return round(max(time.time() - min(times) / 1000, 0.0), 3) if times else None


def _left(row: PartitionProgress, ends: Ends) -> int | None:
    """Offsets that are not read yet; None where the topic is not the one that was read."""
    topic_id, end = ends.get((row.topic, row.partition), ("", 0))
    return max(end - row.next_offset, 0) if topic_id == row.topic_id else None
