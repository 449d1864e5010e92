"""What is to leave for other systems, written with the rows it is made from.

A row is known by the record that caused it, and leaves for the version that serves. A version
that does not serve writes only what the serving one has not come to yet: should it be promoted,
it goes on exactly there. All functions run in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

from kappa.tables.bookkeeping import offset, outbox, processor
from kappa.tables.copy import copy_in
from kappa.tables.layout import Column
from kappa.tables.merge import MergeRule
from kappa.tables.sqltypes import sql_type

FRAME_SCHEMA = pl.Schema(
    {
        "topic": pl.String(),
        "partition": pl.Int32(),
        "offset": pl.Int64(),
        "index": pl.Int32(),
        "key": pl.Binary(),
        "value": pl.Binary(),
    }
)
"""One row that leaves: the record that caused it, its number among that record's rows, and the
bytes of its key and value."""

_COLUMNS = tuple(
    Column(name, sql_type(dtype), MergeRule.FIXED)
    for name, dtype in {
        "processor": pl.String(),
        "version": pl.Int32(),
        "output": pl.String(),
        **FRAME_SCHEMA,
    }.items()
)

BATCH_BYTES = 16 * 1024 * 1024
"""What a batch weighs at most, but for its last row."""

Source = tuple[str, int]
"""A partition of a source: topic id and number."""

Place = tuple[int, int]
"""An offset, and a row's number among those of its record."""


@dataclass(frozen=True, slots=True)
class Frontier:
    """From where on a version's outputs count.

    Attributes:
        serving: whether it is the version that readers see: then all of them do.
        reached: else, how far the serving version has come, by partition.
    """

    serving: bool
    reached: Mapping[int, int]

    def beyond(self, partition: int, next_offset: int) -> bool:
        """Whether something before ``next_offset`` counts."""
        return self.serving or next_offset > self.reached.get(partition, 0)


@dataclass(frozen=True, slots=True)
class Waiting:
    """One row that waits to leave."""

    topic: str
    topic_id: str
    partition: int
    offset: int
    index: int
    key: bytes | None
    value: bytes | None


def frontier(conn: Connection, name: str, version: int, topic: str) -> Frontier | None:
    """From where on outputs of this version count that are made of records of ``topic``.

    None where no version serves yet, or one that does not read the topic, or read another one of
    that name: there is no place where this one would go on.
    """
    rows = conn.execute(_FRONTIER, {"p": name, "v": version, "t": topic}).all()
    if not rows or rows[0].active_version is None:
        return None
    serving = rows[0].active_version == version
    reached = {row.partition: row.next_offset for row in rows if row.partition is not None}
    return Frontier(serving, reached) if serving or reached else None


def insert(conn: Connection, name: str, version: int, output: str, frame: pl.DataFrame) -> None:
    """Adds rows of one output; ``frame`` has FRAME_SCHEMA."""
    of = [pl.lit(name).alias("processor"), pl.lit(version, pl.Int32).alias("version")]
    copy_in(conn, outbox.name, _COLUMNS, frame.with_columns(*of, pl.lit(output).alias("output")))


def prune(conn: Connection, name: str, version: int, outputs: Collection[str]) -> None:
    """Drops what a version that does not serve has for offsets the serving one has come to."""
    for output in outputs:
        conn.execute(_PRUNE, {"p": name, "v": version, "o": output})


def active_version(conn: Connection, name: str) -> int | None:
    """The version that serves, and will until COMMIT; None where none does.

    A promote locks the row before it gives what waits to another version.
    """
    query = sa.select(processor.c.active_version).where(processor.c.name == name)
    return conn.scalar(query.with_for_update(read=True))


def waiting(
    conn: Connection, name: str, version: int, output: str, limit: int
) -> Sequence[Waiting]:
    """The next rows to leave, by partition in the order of their records.

    They are ``limit`` at most, and no more than BATCH_BYTES with their keys, but for the last.
    """
    sources = _sources(name, version)
    rows = sa.select(
        outbox.c.topic,
        sources.c.topic_id,
        outbox.c.partition,
        outbox.c.offset,
        outbox.c.index,
        outbox.c.key,
        outbox.c.value,
    )
    joined = sa.and_(sources.c.topic == outbox.c.topic, sources.c.partition == outbox.c.partition)
    first = (
        rows.join_from(outbox, sources, joined)
        .where(_of(name, version, output), outbox.c.failed_at.is_(None))
        .order_by(outbox.c.topic, outbox.c.partition, outbox.c.offset, outbox.c.index)
        .limit(limit)
        .subquery("first")
    )
    order = (first.c.topic, first.c.partition, first.c.offset, first.c.index)
    key, value = (sa.func.octet_length(column) for column in (first.c.key, first.c.value))
    size = sa.func.coalesce(key, 0) + sa.func.coalesce(value, 0)
    before = sa.func.sum(size).over(order_by=order, rows=(None, -1))
    weighed = sa.select(first, sa.func.coalesce(before, 0).label("before")).subquery("weighed")
    query = (
        sa.select(*(weighed.c[column.name] for column in first.c))
        .where(weighed.c.before < BATCH_BYTES)
        .order_by(*(weighed.c[column.name] for column in order))
    )
    return [Waiting(*row) for row in conn.execute(query)]


def backlog(conn: Connection) -> dict[tuple[str, str], tuple[int, int]]:
    """By processor and output, how many rows wait to leave, and how many were set aside.

    Of rows that change it counts keys. Outputs with neither are left out.
    """
    rows = conn.execute(_BACKLOG).all()
    return {(row.processor, row.output): (row.waiting, row.aside) for row in rows}


def first_topic(
    conn: Connection, name: str, version: int, output: str, topics: Collection[str]
) -> str | None:
    """The first of these topics of whose records something waits to leave; None where nothing."""
    query = sa.select(sa.func.min(outbox.c.topic)).where(
        _of(name, version, output), outbox.c.topic.in_(topics), outbox.c.failed_at.is_(None)
    )
    topic: str | None = conn.scalar(query)
    return topic


def discard(
    conn: Connection, name: str, version: int, output: str, through: Mapping[Source, Place]
) -> None:
    """Drops the rows that have left: up to a place, inclusive, in each partition."""
    if not through:
        return
    sources = _sources(name, version)
    done = (
        sa.func.unnest(
            sa.cast([topic_id for topic_id, _ in through], postgresql.ARRAY(sa.Text)),
            sa.cast([partition for _, partition in through], postgresql.ARRAY(sa.Integer)),
            sa.cast([place[0] for place in through.values()], postgresql.ARRAY(sa.BigInteger)),
            sa.cast([place[1] for place in through.values()], postgresql.ARRAY(sa.Integer)),
        )
        .table_valued("topic_id", "partition", "last", "number", name="done")
        .render_derived()
    )
    conn.execute(
        sa.delete(outbox)
        .where(_of(name, version, output), outbox.c.failed_at.is_(None))
        .where(sources.c.topic == outbox.c.topic, sources.c.partition == outbox.c.partition)
        .where(sources.c.topic_id == done.c.topic_id, sources.c.partition == done.c.partition)
        .where(sa.tuple_(outbox.c.offset, outbox.c.index) <= sa.tuple_(done.c.last, done.c.number))
    )


def drop(conn: Connection, name: str, version: int, output: str, rows: Sequence[Waiting]) -> None:
    """Drops exactly these rows, which have left."""
    if not rows:
        return
    places = [(row.topic, row.partition, row.offset, row.index) for row in rows]
    place = sa.tuple_(outbox.c.topic, outbox.c.partition, outbox.c.offset, outbox.c.index)
    conn.execute(sa.delete(outbox).where(_of(name, version, output), place.in_(places)))


def give_back(
    conn: Connection, name: str, version: int, output: str, rows: Collection[Waiting]
) -> None:
    """Lets rows wait again that were dropped and have not left after all."""
    if not rows:
        return
    places = [(r.topic, r.partition, r.offset, r.index, r.key, r.value) for r in rows]
    insert(conn, name, version, output, pl.DataFrame(places, FRAME_SCHEMA, orient="row"))


def set_aside(
    conn: Connection, name: str, version: int, output: str, row: Waiting, error: str
) -> None:
    """Keeps a row that no try could deliver, with the reason; it is not tried again."""
    one = sa.and_(
        _of(name, version, output),
        outbox.c.topic == row.topic,
        outbox.c.partition == row.partition,
        outbox.c.offset == row.offset,
        outbox.c.index == row.index,
    )
    reason = error.replace("\0", "\ufffd")[:2_000]
    conn.execute(sa.update(outbox).where(one).values(failed_at=sa.func.now(), error=reason))


def _sources(name: str, version: int) -> sa.Subquery:
    """The topic id of every partition; of one that the version does not read, because a promote
    dropped its topic, the id that another version has read."""
    by_place = (offset.c.topic, offset.c.partition)
    return (
        sa.select(*by_place, offset.c.topic_id)
        .ext(postgresql.distinct_on(*by_place))
        .where(offset.c.processor == name)
        .order_by(*by_place, (offset.c.version == version).desc(), offset.c.version.desc())
        .subquery("sources")
    )


def _of(name: str, version: int, output: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        outbox.c.processor == name, outbox.c.version == version, outbox.c.output == output
    )


_FRONTIER = sa.text("""
SELECT p.active_version, o.partition, o.next_offset
FROM kappa_processor AS p
LEFT JOIN (
    kappa_offset AS o JOIN kappa_offset AS own
      ON own.processor = o.processor AND own.version = :v AND own.topic = o.topic
      AND own.partition = o.partition AND own.topic_id = o.topic_id
  ) ON o.processor = p.name AND o.version = p.active_version AND p.active_version <> :v
  AND o.topic = :t
WHERE p.name = :p
""")

_PRUNE = sa.text("""
DELETE FROM kappa_outbox AS b
USING kappa_processor AS p, kappa_offset AS o, kappa_offset AS own
WHERE b.processor = :p AND b.version = :v AND b.output = :o
  AND p.name = :p AND o.processor = :p AND o.version = p.active_version AND o.version <> :v
  AND o.topic = b.topic AND o.partition = b.partition AND b."offset" < o.next_offset
  AND own.processor = :p AND own.version = :v AND own.topic = b.topic
  AND own.partition = b.partition AND own.topic_id = o.topic_id
""")

_BACKLOG = sa.text("""
SELECT p.name AS processor, b.output, sum(b.waiting) AS waiting, sum(b.aside) AS aside
FROM kappa_processor AS p
JOIN (
    SELECT processor, version, output, count(*) FILTER (WHERE failed_at IS NULL) AS waiting,
           count(failed_at) AS aside
    FROM kappa_outbox GROUP BY processor, version, output
    UNION ALL
    SELECT processor, version, output, count(DISTINCT key), 0
    FROM kappa_dirty_key GROUP BY processor, version, output
) AS b ON b.processor = p.name AND b.version = p.active_version
GROUP BY p.name, b.output
""")
