"""Finding the keys that were written in several parts, without grouping the whole table.

A checkpoint writes a key at most once, and its rows carry its transaction id. Checkpoints of a
windowed aggregate, sessions too, lie one after another in time and share only the windows open
between them, so only rows in those stretches of time need to be grouped::

    checkpoint 1   ├──────────┤
    checkpoint 2            ├─────────┤
    checkpoint 3                    ├───────┤
    shared                  ├─┤     ├─┤
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.schema import CreateTable

from kappa.tables.layout import DELETED, Column, Kind, Layout
from kappa.tables.merge import MergeRule
from kappa.tables.relations import temporary
from kappa.tables.sqltypes import BIGINT, TIMESTAMPTZ

_PIECES = Column("_pieces", BIGINT, MergeRule.FIXED)

_MOST_STRETCHES = 200
"""With more stretches of shared time than this, all of the table counts as shared."""


@dataclass(frozen=True, slots=True)
class Split:
    """The keys written in several rows, or deleted, in a temporary table.

    ``pieces`` is how many rows of the table have such a key, ``total`` how many it has at all.
    """

    keys: sa.Table
    pieces: int
    total: int


def find_split(conn: Connection, layout: Layout, written: sa.Table, *, everywhere: bool) -> Split:
    """Finds the keys whose rows must be merged.

    Unless ``everywhere``, trusts that no transaction has written a key twice.
    """
    total, where = _shared(conn, layout, written)
    where = sa.true() if everywhere else where
    key = [column for column in layout.columns if column.name in layout.key]
    keys = temporary("kappa_split", (*key, _PIECES))
    conn.execute(CreateTable(keys))
    by = [written.c[column.name] for column in key]
    several = sa.func.count() > 1
    if layout.kind is Kind.LATEST:
        several |= sa.func.bool_or(written.c[DELETED])
    found = sa.select(*by, sa.func.count()).where(where).group_by(*by).having(several)
    conn.execute(sa.insert(keys).from_select([column.name for column in keys.c], found))
    pieces = conn.scalar(sa.select(sa.func.sum(keys.c[_PIECES.name])))
    return Split(keys, int(pieces or 0), total)


def shared_stretches(
    spans: list[tuple[datetime, datetime]],
) -> list[tuple[datetime, datetime]]:
    """The stretches that lie in at least two of the spans; ends are inclusive."""
    stretches: list[tuple[datetime, datetime]] = []
    reach: datetime | None = None
    for begin, end in sorted(spans):
        if reach is not None and begin <= reach:
            until = min(end, reach)
            if stretches and begin <= stretches[-1][1]:
                stretches[-1] = (stretches[-1][0], max(until, stretches[-1][1]))
            else:
                stretches.append((begin, until))
        reach = end if reach is None else max(reach, end)
    return stretches


def _shared(
    conn: Connection, layout: Layout, written: sa.Table
) -> tuple[int, sa.ColumnElement[bool]]:
    """How many rows there are, and which could have a part in another transaction."""
    time = _time_column(layout)
    if time is None:
        return conn.scalar(sa.select(sa.func.count()).select_from(written)) or 0, sa.true()
    moment = written.c[time.name]
    checkpoints = conn.execute(
        sa.select(sa.func.min(moment), sa.func.max(moment), sa.func.count()).group_by(
            sa.literal_column("xmin")
        )
    ).all()
    total = sum(row[2] for row in checkpoints)
    stretches = shared_stretches([(row[0], row[1]) for row in checkpoints])
    if len(stretches) > _MOST_STRETCHES:
        return total, sa.true()
    shared = (moment.between(begin, end) for begin, end in stretches)
    return total, sa.or_(sa.false(), *shared)


def _time_column(layout: Layout) -> Column | None:
    """A part of the key that says when: checkpoints can be told apart by it."""
    for column in layout.columns:
        if column.name in layout.key and column.type == TIMESTAMPTZ and not column.nullable:
            return column
    return None
