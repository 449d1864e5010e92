"""Finds the rows in which two tables differ, without sorting or joining what is alike.

Each side is read once into checksums of buckets of keys, which two sessions do at the same time,
in one snapshot. Rows of the buckets that differ are then joined by their key.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from psycopg import sql
from sqlalchemy import Connection, Engine

from kappa.tables.engine import driver, translating
from kappa.tables.pairs import Pair, Select
from kappa.tables.views import rendered

_ROWS_PER_BUCKET = 64
_MOST_BUCKETS = 1 << 16
"""So many checksums are compared by this process; more would take longer than they save."""

_KEY_SEED, _ROW_SEED = 0, 1
_WORK_MEM = "128MB"

Checksums = dict[int, tuple[int, int]]
"""By bucket how many rows there are, and their checksum."""

CHANGED, ONLY_BEFORE, ONLY_AFTER = "changed", "only_before", "only_after"


@dataclass(frozen=True, slots=True)
class Sample:
    """A row that differs, its values as PostgreSQL writes them.

    Attributes:
        kind: ``changed``, ``only_before`` or ``only_after``.
        key: what it was matched by.
        before: of a changed row the columns that differ, else all; None where it is not there.
        after: the same in the newer version.
    """

    kind: str
    key: dict[str, str | None]
    before: dict[str, str | None] | None
    after: dict[str, str | None] | None


@dataclass(frozen=True, slots=True)
class Differences:
    """How two versions' rows of one output differ.

    Attributes:
        changed: rows of the same key with another value in some column both versions show.
        columns: of how many changed rows each column differs.
    """

    rows_before: int
    rows_after: int
    changed: int
    only_before: int
    only_after: int
    columns: dict[str, int]
    samples: tuple[Sample, ...]

    @property
    def differing(self) -> int:
        return self.changed + self.only_before + self.only_after

    @property
    def matched(self) -> int:
        """Rows whose key both versions have."""
        return self.rows_before - self.only_before

    @property
    def rate(self) -> float:
        """The share of all keys whose row differs."""
        return share(self.differing, self.rows_before + self.only_after)


def share(part: int, whole: int) -> float:
    """A part of a whole, zero where there is nothing."""
    return part / whole if whole else 0.0


def buckets_for(rows: int) -> int:
    """Into how many buckets so many rows are put: a power of two."""
    wanted = max(rows, 1) // _ROWS_PER_BUCKET
    return int(min(max(1 << wanted.bit_length(), 1), _MOST_BUCKETS))


def find(
    engine: Engine, conn: Connection, snapshot: str, pair: Pair, *, most_samples: int
) -> Differences:
    """Compares the two sides of ``pair`` as they are in a snapshot.

    Args:
        conn: a transaction of that snapshot.
        snapshot: the name under which it was exported.
        most_samples: of each kind.
    """
    buckets = buckets_for(_estimated_rows(conn, pair))
    before, after = _checksums(engine, snapshot, pair, buckets)
    differing = [
        number
        for number in sorted(before.keys() | after.keys())
        if before.get(number) != after.get(number)
    ]
    rows_before, rows_after = _rows(before), _rows(after)
    if not differing:
        nothing = dict.fromkeys(pair.columns, 0)
        return Differences(rows_before, rows_after, 0, 0, 0, nothing, ())
    _configure(conn)
    _join(conn, pair, buckets, differing)
    counts = _counts(conn)
    found = Differences(
        rows_before=rows_before,
        rows_after=rows_after,
        changed=counts.get(CHANGED, 0),
        only_before=counts.get(ONLY_BEFORE, 0),
        only_after=counts.get(ONLY_AFTER, 0),
        columns=_columns(conn, pair),
        samples=tuple(
            sample
            for kind in (CHANGED, ONLY_BEFORE, ONLY_AFTER)
            for sample in _samples(conn, pair, kind, most_samples)
        ),
    )
    conn.execute(sa.text(f"DROP TABLE {_FOUND}"))
    return found


def _configure(conn: Connection) -> None:
    """What groups and joins may take of memory; compiling them takes longer than they do."""
    conn.execute(sa.text(f"SET LOCAL work_mem = '{_WORK_MEM}'"))
    conn.execute(sa.text("SET LOCAL jit = off"))


def _estimated_rows(conn: Connection, pair: Pair) -> int:
    """As many as the greater of the tables had when it was last analyzed."""
    sizes = sa.text(
        "SELECT max(reltuples) FROM pg_class WHERE oid = ANY(CAST(:names AS regclass[]))"
    )
    names = [f'"{table}"' for table in pair.tables]
    return int(conn.scalar(sizes, {"names": names}) or 0)


def _checksums(
    engine: Engine, snapshot: str, pair: Pair, buckets: int
) -> tuple[Checksums, Checksums]:
    """The checksums of each side."""

    def read(select: Select) -> Checksums:
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
            with translating():
                named = sql.SQL("SET TRANSACTION SNAPSHOT {}").format(snapshot)
                driver(conn).execute(named)
            _configure(conn)
            found = conn.execute(_checksum(pair, select, buckets))
            return {int(row[0]): (int(row[1]), int(row[2])) for row in found}

    with ThreadPoolExecutor(len(pair.selects)) as sessions:
        before, after = sessions.map(read, pair.selects)
    return before, after


def _rows(side: Checksums) -> int:
    return sum(count for count, _ in side.values())


def _checksum(pair: Pair, select: Select, buckets: int) -> sa.Select[Any]:
    # XOR would not tell two rows that are alike from none, but no two rows have one key.
    rows = select.subquery("r")
    bucket = _bucket(pair, rows, buckets)
    checksum = sa.func.bit_xor(_hash(list(rows.c), _ROW_SEED))
    return sa.select(bucket, sa.func.count(), checksum).group_by(bucket)


def _bucket(pair: Pair, rows: sa.FromClause, buckets: int) -> sa.ColumnElement[int]:
    return _hash(_key(pair, rows), _KEY_SEED).op("&", return_type=sa.BigInteger())(
        sa.literal_column(str(buckets - 1))
    )


def _hash(columns: list[sa.ColumnElement[Any]], seed: int) -> sa.ColumnElement[int]:
    return sa.func.hash_record_extended(
        sa.func.row(*columns), sa.literal_column(str(seed)), type_=sa.BigInteger()
    )


def _key(pair: Pair, rows: sa.FromClause) -> list[sa.ColumnElement[Any]]:
    return [rows.c[f"k{place}"] for place in range(pair.keys)]


def _values(pair: Pair, rows: sa.FromClause) -> list[sa.ColumnElement[Any]]:
    return [rows.c[f"c{place}"] for place in range(len(pair.columns))]


_FOUND = "kappa_differing"


def _join(conn: Connection, pair: Pair, buckets: int, differing: list[int]) -> None:
    """The rows that differ, side by side, in a table of this session's own."""
    before, after = (_of(pair, select, buckets, differing) for select in pair.selects)
    # By the hash alone a join is by hash, and with NULLs in the key it is right by the rest.
    same_key = sa.and_(
        before.c.h == after.c.h,
        *(a.is_not_distinct_from(b) for a, b in _both(_key, pair, before, after)),
    )
    unlike = [a.is_distinct_from(b) for a, b in _both(_values, pair, before, after)]
    kind = sa.case(
        (before.c.h.is_(None), ONLY_AFTER), (after.c.h.is_(None), ONLY_BEFORE), else_=CHANGED
    )
    joined = (
        sa.select(
            kind.label("kind"),
            *(column.label(f"b_{column.name}") for column in before.c),
            *(column.label(f"a_{column.name}") for column in after.c),
        )
        .select_from(before.join(after, same_key, full=True))
        .where(sa.or_(before.c.h.is_(None), after.c.h.is_(None), *unlike))
    )
    create = sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS {}")
    with translating():
        driver(conn).execute(create.format(sql.Identifier(_FOUND), rendered(conn, joined)))


def _of(pair: Pair, select: Select, buckets: int, differing: list[int]) -> sa.Subquery:
    rows = select.subquery()
    columns = [*_key(pair, rows), *_values(pair, rows)]
    picked = sa.select(_hash(_key(pair, rows), _KEY_SEED).label("h"), *columns)
    if 2 * len(differing) < buckets:
        numbers = "{" + ",".join(map(str, differing)) + "}"
        listed: sa.ColumnElement[Any] = sa.literal_column(f"'{numbers}'::bigint[]")
        picked = picked.where(_bucket(pair, rows, buckets) == sa.func.any(listed))
    return picked.subquery()


def _both(
    columns: Callable[[Pair, sa.FromClause], list[sa.ColumnElement[Any]]],
    pair: Pair,
    before: sa.FromClause,
    after: sa.FromClause,
) -> list[tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]]]:
    return list(zip(columns(pair, before), columns(pair, after), strict=True))


_found = sa.table(_FOUND, sa.column("kind", sa.Text()))


def _stored(name: str) -> sa.ColumnElement[Any]:
    return sa.column(name)


def _counts(conn: Connection) -> dict[str, int]:
    counted = sa.select(_found.c.kind, sa.func.count()).group_by(_found.c.kind)
    return {row[0]: row[1] for row in conn.execute(counted)}


def _columns(conn: Connection, pair: Pair) -> dict[str, int]:
    """Of how many changed rows each column differs."""
    if not pair.columns:
        return {}
    unlike = [
        sa.func.count().filter(_stored(f"b_c{at}").is_distinct_from(_stored(f"a_c{at}")))
        for at in range(len(pair.columns))
    ]
    counted = sa.select(*unlike).select_from(_found).where(_found.c.kind == CHANGED)
    return dict(zip(pair.columns, conn.execute(counted).one(), strict=True))


def _samples(conn: Connection, pair: Pair, kind: str, most: int) -> list[Sample]:
    side = "a" if kind == ONLY_AFTER else "b"
    key = [_stored(f"{side}_k{at}") for at in range(pair.keys)]
    values = [_stored(f"{each}_c{at}") for each in ("b", "a") for at in range(len(pair.columns))]
    unlike = [
        _stored(f"b_c{at}").is_distinct_from(_stored(f"a_c{at}")) for at in range(len(pair.columns))
    ]
    chosen = (
        sa.select(*(sa.cast(column, sa.Text()) for column in (*key, *values)), *unlike)
        .select_from(_found)
        .where(_found.c.kind == kind)
        .order_by(*key)
        .limit(most)
    )
    return [_sample(pair, kind, tuple(row)) for row in conn.execute(chosen)]


def _sample(pair: Pair, kind: str, row: tuple[Any, ...]) -> Sample:
    key, values = row[: pair.keys], row[pair.keys :]
    several = len(pair.columns)
    before = dict(zip(pair.columns, values[:several], strict=True))
    after = dict(zip(pair.columns, values[several : 2 * several], strict=True))
    if not pair.key:  # what it was matched by is all there is
        before = after = dict(zip(pair.shared, key, strict=False))
    named = dict(zip(pair.key, key, strict=False))
    if kind == ONLY_BEFORE:
        return Sample(kind, named, before, None)
    if kind == ONLY_AFTER:
        return Sample(kind, named, None, after)
    unlike = dict(zip(pair.columns, values[2 * several :], strict=True))
    return Sample(
        kind,
        named,
        {name: value for name, value in before.items() if unlike[name]},
        {name: value for name, value in after.items() if unlike[name]},
    )
