"""How far each version has come: one row per partition, moved only by compare-and-set.

All functions run in the caller's transaction. A partition is named ``(topic, partition)``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kappa.errors import Fenced, TopicRecreated, UnknownVersion
from kappa.tables.bookkeeping import offset
from kappa.tables.bookkeeping import processor as processors

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class NewPartition:
    """A partition as it was found when a version began to read it."""

    topic: str
    partition: int
    topic_id: str
    start_offset: int
    target_offset: int | None = None
    """The end of history when the build began, exclusive; None for a version without a build."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A partition that is ours until somebody else claims it. ``epoch`` is the fence."""

    topic: str
    partition: int
    topic_id: str
    epoch: int
    next_offset: int
    start_offset: int
    target_offset: int | None
    max_event_time: int | None
    max_record_time: int | None
    records: int
    held_until: int | None = None  # where it must stop, exclusive; see kappa.tables.holds


@dataclass(frozen=True, slots=True)
class Advance:
    """One partition's step from ``old_offset`` to ``new_offset`` in a checkpoint.

    Times are milliseconds since 1970 and only ever grow in the table. Counters are those of
    this step and are added.
    """

    topic: str
    partition: int
    epoch: int
    old_offset: int
    new_offset: int
    max_event_time: int | None
    max_record_time: int | None
    records: int
    late: int = 0
    dead: int = 0
    filtered: int = 0
    schema_ids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """One row of progress, for reports."""

    topic: str
    partition: int
    topic_id: str
    start_offset: int
    next_offset: int
    target_offset: int | None
    max_event_time: int | None
    max_record_time: int | None
    epoch: int
    owner: str | None
    records: int
    late: int
    dead: int
    filtered: int
    schema_ids: tuple[int, ...]


def register(
    conn: Connection, processor: str, version: int, partitions: Collection[NewPartition]
) -> int:
    """Adds the rows of partitions not yet registered; returns how many were new.

    The processor's row is locked FOR SHARE, so that no partition slips past a promote.

    Raises:
        UnknownVersion: the processor is not recorded.
        TopicRecreated: a partition is registered with another topic id.
    """
    lock = sa.select(processors.c.name).where(processors.c.name == processor)
    if conn.scalar(lock.with_for_update(read=True)) is None:
        raise UnknownVersion(
            f"processor {processor!r} is not recorded",
            version=version,
            hint=f"kappa replay {processor}",
        )
    if not partitions:
        return 0
    rows = [_row(processor, version, new) for new in partitions]
    insertion = insert(offset).values(rows).on_conflict_do_nothing()
    added = conn.scalars(insertion.returning(offset.c.partition)).all()
    topic_ids = {(row.topic, row.partition): row.topic_id for row in read(conn, processor, version)}
    for new in partitions:
        known = topic_ids[new.topic, new.partition]
        if known != new.topic_id:
            raise TopicRecreated(
                f"topic {new.topic!r} is not the one this version has read so far",
                partition=new.partition,
                read=known,
                found=new.topic_id,
                hint="this version's rows are of the old topic: replay a new version, and promote"
                f" it with --drop-source {new.topic}",
            )
    return len(added)


def claim(
    conn: Connection,
    processor: str,
    version: int,
    partitions: Collection[Partition],
    owner: str,
) -> dict[Partition, Claimed]:
    """Takes partitions over: bumps each one's epoch, which fences whoever held it.

    Locks the rows in order, and waits for a transaction that holds one of them
    (`recovery.terminate_owners` ends the wait).

    Raises:
        UnknownVersion: a partition is not registered.
    """
    lock(conn, processor, version, partitions)
    taken = conn.execute(
        sa.update(offset)
        .where(these(processor, version, partitions))
        .values(
            epoch=offset.c.epoch + 1,
            owner=owner,
            backend_pid=sa.func.pg_backend_pid(),
            updated_at=sa.func.now(),
        )
        .returning(*_columns(Claimed))
    )
    claimed = [Claimed(**row) for row in taken.mappings()]
    return {(row.topic, row.partition): row for row in claimed}


def advance(conn: Connection, processor: str, version: int, advances: Sequence[Advance]) -> None:
    """Moves all partitions in one statement, each only from ``old_offset`` under ``epoch``.

    Raises:
        Fenced: a partition was not where we left it or not ours; it is named. The caller rolls
            back: no partition of this checkpoint may be applied.
    """
    if not advances:
        return
    moved = conn.execute(_ADVANCE, {"p": processor, "v": version, **_arrays(advances)})
    done = {(row.topic, row.partition) for row in moved}
    left = [step for step in advances if (step.topic, step.partition) not in done]
    if left:
        raise fenced(left, read(conn, processor, version))


def read(conn: Connection, processor: str, version: int) -> tuple[PartitionProgress, ...]:
    """Progress of every partition by topic and number, without locks."""
    return _progress(conn, _of(processor, version))


def _of(processor: str, version: int) -> sa.ColumnElement[bool]:
    return sa.and_(offset.c.processor == processor, offset.c.version == version)


def these(
    processor: str, version: int, partitions: Collection[Partition]
) -> sa.ColumnElement[bool]:
    """Whether a row of kappa_offset is one of these partitions."""
    named = sa.tuple_(offset.c.topic, offset.c.partition).in_(list(partitions))
    return sa.and_(_of(processor, version), named)


def lock(
    conn: Connection, processor: str, version: int, partitions: Collection[Partition]
) -> dict[Partition, PartitionProgress]:
    """Locks the rows of these partitions in order, and returns them."""
    found = _progress(conn, these(processor, version, partitions), locked=True)
    rows = {(row.topic, row.partition): row for row in found}
    for topic, partition in partitions:
        if (topic, partition) not in rows:
            raise UnknownVersion(
                f"{processor!r} version {version} does not read this partition",
                topic=topic,
                partition=partition,
                hint=f"kappa replay {processor} --version {version}",
            )
    return rows


def hold(conn: Connection, processor: str, version: int, epochs: Mapping[Partition, int]) -> None:
    """Keeps partitions claimed under these epochs where they are until COMMIT.

    Raises:
        Fenced: one was claimed since; it is named.
    """
    rows = lock(conn, processor, version, epochs)
    lost = [place for place, epoch in sorted(epochs.items()) if rows[place].epoch != epoch]
    if lost:
        raise _fenced(lost, epochs[lost[0]], rows[lost[0]])


def _progress(
    conn: Connection, where: sa.ColumnElement[bool], *, locked: bool = False
) -> tuple[PartitionProgress, ...]:
    query = sa.select(*_columns(PartitionProgress)).where(where)
    query = query.order_by(offset.c.topic, offset.c.partition)
    found = conn.execute(query.with_for_update() if locked else query)
    return tuple(
        PartitionProgress(**{**row, "schema_ids": tuple(row["schema_ids"])})
        for row in found.mappings()
    )


def _columns(kind: type[Claimed | PartitionProgress]) -> list[sa.Column[Any]]:
    return [offset.c[field.name] for field in fields(kind) if field.name in offset.c]


def _row(processor: str, version: int, new: NewPartition) -> dict[str, object]:
    position = {"processor": processor, "version": version, "next_offset": new.start_offset}
    return position | asdict(new)


def _arrays(advances: Sequence[Advance]) -> dict[str, list[object]]:
    """One array per field. Sets become literals: an array of arrays could not be ragged."""
    arrays: dict[str, list[object]] = {
        field.name: [getattr(step, field.name) for step in advances] for field in fields(Advance)
    }
    arrays["schema_ids"] = [
        "{" + ",".join(str(number) for number in sorted(step.schema_ids)) + "}" for step in advances
    ]
    return arrays


def fenced(steps: Sequence[Advance], found: Iterable[PartitionProgress]) -> Fenced:
    """The error that names the partitions of ``steps`` and what is ``found`` of the first."""
    rows = {(row.topic, row.partition): row for row in found}
    lost = [(step.topic, step.partition) for step in steps]
    return _fenced(lost, steps[0].epoch, rows.get(lost[0]), offset=steps[0].old_offset)


def _fenced(
    lost: Sequence[Partition], epoch: int, first: PartitionProgress | None, **detail: object
) -> Fenced:
    return Fenced(
        "somebody else has claimed the partition since",
        partitions=", ".join(f"{topic}/{partition}" for topic, partition in lost),
        epoch=epoch,
        epoch_now=first and first.epoch,
        owner_now=first and first.owner,
        **detail,
        offset_now=first and first.next_offset,
        hint="another worker, or a promote, has taken over: start again to claim what is left",
    )


# Rows are locked in order first: an UPDATE alone takes them in any order, and could meet a
# promote, which holds one and waits for the other. The conditions are in the UPDATE, where they
# are looked at again once the lock is held.
_ADVANCE = sa.text("""
WITH step AS (
    SELECT step.*
    FROM kappa_offset AS o
    JOIN unnest(
        CAST(:topic AS text[]), CAST(:partition AS int[]), CAST(:epoch AS bigint[]),
        CAST(:old_offset AS bigint[]), CAST(:new_offset AS bigint[]),
        CAST(:max_event_time AS bigint[]), CAST(:max_record_time AS bigint[]),
        CAST(:records AS bigint[]), CAST(:late AS bigint[]), CAST(:dead AS bigint[]),
        CAST(:filtered AS bigint[]), CAST(:schema_ids AS text[])
    ) AS step (
        topic, partition, epoch, old_offset, new_offset, max_event_time, max_record_time,
        records, late, dead, filtered, schema_ids
    ) ON o.topic = step.topic AND o.partition = step.partition
    WHERE o.processor = :p AND o.version = :v
    ORDER BY o.topic, o.partition
    FOR UPDATE OF o
)
UPDATE kappa_offset AS o SET
    next_offset = step.new_offset,
    max_event_time = GREATEST(o.max_event_time, step.max_event_time),
    max_record_time = GREATEST(o.max_record_time, step.max_record_time),
    records = o.records + step.records,
    late = o.late + step.late,
    dead = o.dead + step.dead,
    filtered = o.filtered + step.filtered,
    schema_ids = CASE WHEN o.schema_ids @> CAST(step.schema_ids AS int[]) THEN o.schema_ids ELSE
        ARRAY(SELECT unnest(o.schema_ids) UNION SELECT unnest(CAST(step.schema_ids AS int[]))
              ORDER BY 1) END,
    backend_pid = pg_backend_pid(),
    updated_at = now()
FROM step
WHERE o.processor = :p AND o.version = :v
  AND o.topic = step.topic AND o.partition = step.partition
  AND o.epoch = step.epoch AND o.next_offset = step.old_offset
RETURNING o.topic, o.partition
""")
