"""Up to where a version's windows are final, kept for the view and for people.

A window is final when the watermark of every partition that has records has passed its end by
the allowed lateness. The moment is stored per version and only ever rises. A partition without
records is left out, and one that has been silent for long may be; a record that it then brings
for a final window is a correction.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kappa.tables import names
from kappa.tables.bookkeeping import finality

TABLE = finality.name
"""The table that views of final windows read."""

EARLIEST = datetime.min.replace(tzinfo=UTC)
"""With more lateness than there has been time nothing is final."""

Partition = tuple[str, int]
Span = tuple[str, int, int]
"""A partition, and the offset up to which it is being read, exclusive."""


@dataclass(frozen=True, slots=True)
class Finality:
    """How a version's windows become final.

    Attributes:
        delay_ms: how long after a window's end, by the greatest event time of a partition.
        hides: whether readers see a window only once it is final.
        idle_after_ms: a partition with nothing to read counts until it has been silent for
            this long by the database's clock; None: for ever.
    """

    delay_ms: int
    hides: bool = False
    idle_after_ms: int | None = None


def _stored(processor: str, version: int) -> sa.Select[tuple[datetime, int]]:
    return sa.select(finality.c.final_through, finality.c.corrections).where(
        finality.c.processor == processor, finality.c.version == version
    )


def through(processor: str, version: int) -> sa.ScalarSelect[object]:
    """The stored moment as a scalar subquery; NULL before the first."""
    return (
        sa.select(finality.c.final_through)
        .where(finality.c.processor == processor, finality.c.version == version)
        .scalar_subquery()
    )


@dataclass(frozen=True, slots=True)
class Final:
    """What is stored: up to where windows are final, and how often records corrected one.

    A record that lies in several such windows counts for each.
    """

    through: datetime | None = None
    corrections: int = 0


def read(conn: Connection, processor: str, version: int) -> Final:
    """What is stored of a version."""
    row = conn.execute(_stored(processor, version)).first()
    return Final() if row is None else Final(row.final_through, row.corrections)


def hold(conn: Connection, processor: str, version: int) -> datetime | None:
    """Keeps the stored moment where it is until COMMIT; None before the first."""
    held = _stored(processor, version).with_for_update()
    row = conn.execute(held).first()
    if row is None:  # there is no row to lock, and somebody else may be about to add it
        lock = sa.func.hashtextextended(f"{names.table_name(processor, version)} final", 0)
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
        row = conn.execute(held).first()
    return None if row is None else row.final_through


def carry_on(conn: Connection, processor: str, former: int, version: int) -> None:
    """Raises a version's moment to that of the former one, which readers have seen.

    The windows that they have seen as final stay visible, as the version that takes over has them.
    It may become final later, having more lateness or not having passed over a silent partition:
    what it still takes for those windows are corrections. The offset rows of both are locked, so
    no checkpoint is under way.
    """
    stored = sa.select(sa.literal(processor), sa.literal(version), finality.c.final_through).where(
        finality.c.processor == processor, finality.c.version == former
    )
    raised = insert(finality).from_select(["processor", "version", "final_through"], stored)
    conn.execute(
        raised.on_conflict_do_update(
            constraint=finality.primary_key,
            set_={"final_through": raised.excluded.final_through},
            where=raised.excluded.final_through > finality.c.final_through,
        )
    )


def correct(conn: Connection, processor: str, version: int, records: int) -> None:
    """Counts records that were applied to windows already final, once for each window."""
    if records:
        conn.execute(
            sa.update(finality)
            .where(finality.c.processor == processor, finality.c.version == version)
            .values(corrections=finality.c.corrections + records)
        )


def advance(
    conn: Connection,
    processor: str,
    version: int,
    rule: Finality,
    *,
    spans: Collection[Span] = (),
    silent: Collection[Partition] = (),
) -> None:
    """Raises the stored moment to what the partitions' committed event times allow.

    ``spans`` are the partitions with something to read, whoever reads them; ``silent`` those
    that have nothing to read once they are at the end of their span.
    """
    named = sorted(silent) if rule.idle_after_ms is not None else []
    conn.execute(
        _ADVANCE,
        {
            "p": processor,
            "v": version,
            "delay": rule.delay_ms,
            "earliest": int(EARLIEST.timestamp()) * 1_000,
            "idle": rule.idle_after_ms or 0,
            "topics": [topic for topic, _ in named],
            "partitions": [partition for _, partition in named],
            "span_topics": [topic for topic, _, _ in spans],
            "span_partitions": [partition for _, partition, _ in spans],
            "span_ends": [end for _, _, end in spans],
        },
    )


# A partition that has no records, or whose records are all dead letters, holds nothing back once
# it has been read. One that is still to be read does.
_ADVANCE = sa.text("""
INSERT INTO kappa_finality AS f (processor, version, final_through)
SELECT :p, :v, to_timestamp(0)
    + greatest(min(o.max_event_time) - :delay, :earliest) * interval '1 millisecond'
FROM kappa_offset AS o
WHERE o.processor = :p AND o.version = :v
  AND (o.max_event_time IS NOT NULL OR o.next_offset < (
        SELECT max(span.last) FROM unnest(
            CAST(:span_topics AS text[]), CAST(:span_partitions AS int[]),
            CAST(:span_ends AS bigint[])) AS span (topic, partition, last)
        WHERE span.topic = o.topic AND span.partition = o.partition))
  AND NOT (
    (o.topic, o.partition) IN (
        SELECT * FROM unnest(CAST(:topics AS text[]), CAST(:partitions AS int[])))
    AND o.next_offset >= ALL (
        SELECT span.last FROM unnest(
            CAST(:span_topics AS text[]), CAST(:span_partitions AS int[]),
            CAST(:span_ends AS bigint[])) AS span (topic, partition, last)
        WHERE span.topic = o.topic AND span.partition = o.partition)
    AND o.updated_at < now() - :idle * interval '1 millisecond')
HAVING count(*) > 0 AND bool_and(o.max_event_time IS NOT NULL)
ON CONFLICT (processor, version) DO UPDATE SET final_through = excluded.final_through
WHERE excluded.final_through > f.final_through
""")
