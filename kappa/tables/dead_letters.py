"""Records that could not be processed, kept with their place in the log and the reason.

A letter is *open* until a copy of its record is applied, or a person drops it. What becomes of a
copy depends on the letters of its own version alone, so that it is the same in every replay:
dropping a letter changes nothing there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.schema import CreateTable

from kappa.errors import TooManyDeadLetters
from kappa.tables.bookkeeping import OPEN, dead_letter
from kappa.tables.copy import copy_in
from kappa.tables.layout import Column
from kappa.tables.merge import MergeRule
from kappa.tables.relations import temporary
from kappa.tables.sqltypes import sql_type

FRAME_SCHEMA = pl.Schema(
    {
        "topic": pl.String(),
        "partition": pl.Int32(),
        "offset": pl.Int64(),
        "index": pl.Int32(),
        "timestamp": pl.Int64(),
        "key": pl.Binary(),
        "value": pl.Binary(),
        "error_class": pl.String(),
        "message": pl.String(),
        "stack": pl.String(),
        "timer": pl.String(),
        "retry_of": pl.Int64(),
    }
)
"""One row per record, ``index`` zero, or per timer that failed, from one on; ``timestamp`` is the
record's, in milliseconds; ``retry_of`` the offset of the original, of a copy that failed."""

_COLUMNS = tuple(
    Column(name, sql_type(dtype), MergeRule.FIXED) for name, dtype in FRAME_SCHEMA.items()
)


@dataclass(frozen=True, slots=True)
class Retried:
    """A copy that was applied: the offset of its original and its own."""

    topic: str
    partition: int
    original: int
    copy: int


@dataclass(frozen=True, slots=True)
class Known:
    """What a version knows of a record it has a letter of.

    Attributes:
        original: the offset of the record it is a copy of, else its own.
        is_retried: whether a copy was applied in its place.
    """

    original: int
    is_retried: bool


def insert(conn: Connection, processor: str, version: int, frame: pl.DataFrame) -> None:
    """Adds dead letters; ``frame`` has FRAME_SCHEMA. One already there is left as it is.

    NUL in a message or stack, which PostgreSQL cannot hold, becomes U+FFFD.
    """
    if frame.is_empty():
        return
    staged = temporary("kappa_stage_dead_letter", _COLUMNS)
    conn.execute(CreateTable(staged, if_not_exists=True))
    conn.execute(sa.delete(staged))
    text = pl.col("message", "stack", "timer").str.replace_all("\0", "\ufffd", literal=True)
    copy_in(conn, staged.name, _COLUMNS, frame.with_columns(text))
    rows = sa.select(sa.literal(processor), sa.literal(version), *staged.c).order_by(
        staged.c.topic, staged.c.partition, staged.c.offset, staged.c.index
    )
    names = ["processor", "version", *(column.name for column in _COLUMNS)]
    conn.execute(postgresql_insert(dead_letter).from_select(names, rows).on_conflict_do_nothing())


def mark_retried(
    conn: Connection, processor: str, version: int, retried: Sequence[Retried]
) -> None:
    """Notes which copies were applied: at their originals, and at copies that failed before."""
    if not retried:
        return
    given = {
        "p": processor,
        "v": version,
        "topic": [one.topic for one in retried],
        "partition": [one.partition for one in retried],
        "original": [one.original for one in retried],
        "copy": [one.copy for one in retried],
    }
    for place in ('"offset"', "retry_of"):
        conn.execute(sa.text(_MARK.format(place=place)), given)


_MARK = """
UPDATE kappa_dead_letter AS d SET retried_by = r.copy
FROM unnest(
    CAST(:topic AS text[]), CAST(:partition AS int[]),
    CAST(:original AS bigint[]), CAST(:copy AS bigint[])
) AS r (topic, partition, original, copy)
WHERE d.processor = :p AND d.version = :v AND d.topic = r.topic AND d.partition = r.partition
  AND d.{place} = r.original AND d.index = 0 AND d.retried_by IS NULL
"""


def require_room(
    conn: Connection, processor: str, version: int, frame: pl.DataFrame, most: int | None
) -> None:
    """Passes if the version has at most ``most`` open letters, those of ``frame`` among them.

    Checkpoints of one version with letters wait for each other here, so that two of them do not
    both find the last place free.

    Raises:
        TooManyDeadLetters: there are more; the transaction must not be committed.
    """
    if most is None or frame.is_empty():
        return
    conn.execute(_ONE_AT_A_TIME, {"name": f"kappa dead letters {processor} {version}"})
    found = conn.execute(_COUNT, {"p": processor, "v": version, "most": most + 1}).scalar_one()
    if found > most:
        topic, partition, offset, cause, message = frame.select(
            "topic", "partition", "offset", "error_class", "message"
        ).row(-1)
        raise too_many(
            processor,
            version,
            f"{cause}: {message}",
            topic=topic,
            partition=partition,
            offset=offset,
            limit=most,
        )


_ONE_AT_A_TIME = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
_COUNT = sa.text(f"""
SELECT count(*) FROM (
    SELECT FROM kappa_dead_letter WHERE processor = :p AND version = :v AND {OPEN} LIMIT :most
) AS found
""")


def too_many(processor: str, version: int, last: str, **detail: object) -> TooManyDeadLetters:
    """The error of a version that has reached its limit; ``last`` says what is wrong with the
    last letter, which may never be stored, and ``detail`` where it lies."""
    return TooManyDeadLetters(
        f"{processor} version {version} has more dead letters than it allows; the last: {last}",
        **detail,
        hint=f"see 'kappa dlq list {processor} --version {version}'; letters that are dropped or"
        " retried do not count, and what was not committed is not lost",
    )


def known(
    conn: Connection,
    processor: str,
    version: int,
    topic: str,
    partition: int,
    offsets: Collection[int],
) -> Mapping[int, Known]:
    """What there is of the records at these offsets; none of those without a letter."""
    query = sa.select(dead_letter.c.offset, dead_letter.c.retry_of, dead_letter.c.retried_by).where(
        *_in_partition(processor, version, topic, partition),
        dead_letter.c.index == 0,
        dead_letter.c.offset == sa.any_(sa.literal(list(offsets), sa.ARRAY(sa.BigInteger))),
    )
    return {
        offset: Known(offset if retry_of is None else retry_of, retried_by is not None)
        for offset, retry_of, retried_by in conn.execute(query)
    }


def open_before(
    conn: Connection, processor: str, version: int, topic: str, partition: int, offset: int
) -> int:
    """How many letters before ``offset`` no copy before it was applied for, and nobody dropped."""
    query = sa.select(sa.func.count()).where(
        *_in_partition(processor, version, topic, partition),
        dead_letter.c.offset < offset,
        dead_letter.c.retry_of.is_(None),
        sa.or_(
            dead_letter.c.retried_by >= offset,
            sa.and_(dead_letter.c.retried_by.is_(None), dead_letter.c.dropped_at.is_(None)),
        ),
    )
    return int(conn.execute(query).scalar_one())


def dropped_from(
    conn: Connection, processor: str, version: int, topic: str, partition: int, offset: int
) -> int:
    """How many letters from ``offset`` on a person dropped and no copy was applied for."""
    query = sa.select(sa.func.count()).where(
        *_in_partition(processor, version, topic, partition),
        dead_letter.c.offset >= offset,
        dead_letter.c.retry_of.is_(None),
        dead_letter.c.retried_by.is_(None),
        dead_letter.c.dropped_at.is_not(None),
    )
    return int(conn.execute(query).scalar_one())


def _in_partition(
    processor: str, version: int, topic: str, partition: int
) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        dead_letter.c.processor == processor,
        dead_letter.c.version == version,
        dead_letter.c.topic == topic,
        dead_letter.c.partition == partition,
    )
