"""Dead letters for people: counted, listed, taken out, dropped.

A copy that failed belongs to the letter of its original: what is done to one is done to both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from kappa.tables.bookkeeping import OPEN, dead_letter

Place = tuple[str, int, int]
"""Topic, partition, offset."""

_PLACE = (
    dead_letter.c.topic,
    dead_letter.c.partition,
    dead_letter.c.offset,
    dead_letter.c.index,
)
_PAGE_LETTERS = 1_000
_PAGE_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Letter:
    """A record that could not be processed, or a timer that failed at it, see kappa_dead_letter."""

    topic: str
    partition: int
    offset: int
    index: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    error_class: str
    message: str
    stack: str | None
    timer: str | None
    created_at: datetime
    retry_of: int | None
    retried_by: int | None
    dropped_at: datetime | None

    @property
    def place(self) -> str:
        """Where its record lies, as people write it."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def original(self) -> int:
        """The offset of the record it is a copy of, else its own."""
        return self.offset if self.retry_of is None else self.retry_of


@dataclass(frozen=True, slots=True)
class Tally:
    """The letters of one error class."""

    error_class: str
    letters: int
    open: int
    retried: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters of a version.

    Attributes:
        places: those at these places; None for any.
        error_class: those of this class; None for any.
        is_open: only those nothing was done about yet.
    """

    places: Sequence[Place] | None = None
    error_class: str | None = None
    is_open: bool = False


def tally(conn: Connection, processor: str, version: int) -> tuple[Tally, ...]:
    """How many letters there are by error class, the most frequent first."""
    of = dead_letter.c
    query = (
        sa.select(
            of.error_class,
            sa.func.count(),
            sa.func.count().filter(sa.text(OPEN)),
            sa.func.count(of.retried_by),
            sa.func.count(of.dropped_at).filter(of.retried_by.is_(None)),
        )
        .where(of.processor == processor, of.version == version)
        .group_by(of.error_class)
        .order_by(sa.func.count().desc(), of.error_class)
    )
    return tuple(Tally(*row) for row in conn.execute(query))


def newest(
    conn: Connection, processor: str, version: int, choice: Choice, limit: int
) -> tuple[Letter, ...]:
    """The letters written last."""
    of = dead_letter.c
    query = _select(processor, version, choice).order_by(
        of.created_at.desc(), of.topic, of.partition, of.offset.desc(), of.index.desc()
    )
    return tuple(Letter(**row) for row in conn.execute(query.limit(limit)).mappings())


def at(conn: Connection, processor: str, version: int, places: Sequence[Place]) -> list[Letter]:
    """All letters at these places, in order."""
    return _in_order(conn, _select(processor, version, Choice(places=places)))


def each(conn: Connection, processor: str, version: int, choice: Choice) -> Iterator[Letter]:
    """All chosen letters in the order of their places.

    They come in pages of so many letters and bytes, each in a transaction that is over when the
    page is given: whatever is done with them may take long. One that is no longer chosen by then
    is left out.
    """
    place = sa.tuple_(*_PLACE)
    last: sa.ColumnElement[bool] = sa.true()
    while page := conn.execute(
        sa.select(*_PLACE, _size())
        .where(*_conditions(processor, version, choice), last)
        .order_by(*_PLACE)
        .limit(_PAGE_LETTERS)
    ).all():
        for first, end in _pages([size for *_, size in page]):
            query = _select(processor, version, choice).where(
                place >= sa.tuple_(*page[first][:4]), place <= sa.tuple_(*page[end - 1][:4])
            )
            letters = _in_order(conn, query)
            conn.commit()
            yield from letters
        last = place > sa.tuple_(*page[-1][:4])


def _in_order(conn: Connection, query: sa.Select[Any]) -> list[Letter]:
    return [Letter(**row) for row in conn.execute(query.order_by(*_PLACE)).mappings()]


def _size() -> sa.ColumnElement[int]:
    of = dead_letter.c
    return sa.func.coalesce(sa.func.octet_length(of.key), 0) + sa.func.coalesce(
        sa.func.octet_length(of.value), 0
    )


def _pages(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Bounds of runs that stay within _PAGE_BYTES; a letter that is larger is a run by itself."""
    first = total = 0
    for at, size in enumerate(sizes):
        if at > first and total + size > _PAGE_BYTES:
            yield first, at
            first, total = at, 0
        total += size
    yield first, len(sizes)


def drop(conn: Connection, processor: str, version: int, choice: Choice) -> int:
    """Erases the bytes of the chosen letters for good; returns how many letters that were.

    Their rows stay, because a copy is applied only where its original is a letter.
    """
    of = dead_letter.c
    chosen = sa.select(
        of.topic, of.partition, of.offset, of.index, sa.func.coalesce(of.retry_of, of.offset)
    ).where(*_conditions(processor, version, choice), of.dropped_at.is_(None))
    columns = list(zip(*conn.execute(chosen), strict=True)) or [()] * 5
    names = ("topic", "partition", "offset", "index", "original")
    given = {name: list(values) for name, values in zip(names, columns, strict=True)}
    return sum(
        conn.execute(
            sa.text(_DROP.format(which=which)), {"p": processor, "v": version, **given}
        ).rowcount
        for which in (
            'd."offset" = c."offset" AND d.index = c.index',
            'd."offset" = c.original AND d.index = 0 AND c.index = 0',
            "d.retry_of = c.original AND d.index = 0 AND c.index = 0",
        )
    )


_DROP = """
UPDATE kappa_dead_letter AS d SET key = NULL, value = NULL, dropped_at = now()
FROM unnest(
    CAST(:topic AS text[]), CAST(:partition AS int[]), CAST(:offset AS bigint[]),
    CAST(:index AS int[]), CAST(:original AS bigint[])
) AS c (topic, partition, "offset", index, original)
WHERE d.processor = :p AND d.version = :v AND d.topic = c.topic AND d.partition = c.partition
  AND {which} AND d.dropped_at IS NULL
"""


def _select(processor: str, version: int, choice: Choice) -> sa.Select[tuple[object, ...]]:
    columns = [dead_letter.c[field.name] for field in fields(Letter)]
    return sa.select(*columns).where(*_conditions(processor, version, choice))


def _conditions(processor: str, version: int, choice: Choice) -> Iterator[sa.ColumnElement[bool]]:
    of = dead_letter.c
    yield of.processor == processor
    yield of.version == version
    if choice.places is not None:
        yield sa.tuple_(of.topic, of.partition, of.offset).in_(list(choice.places))
    if choice.error_class is not None:
        yield of.error_class == choice.error_class
    if choice.is_open:
        yield sa.text(OPEN)  # type: ignore[misc]
