"""The two statements that make rows of parts: over a whole table, and into stored rows."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from kappa.tables import names
from kappa.tables.layout import DELETED, OFFSET, Kind, Layout
from kappa.tables.merge import MergeRule


def merged(layout: Layout, written: sa.FromClause) -> sa.Select[Any]:
    """The layout's columns, one row per key of what was ``written``, in the order of the key."""
    key = [written.c[name] for name in layout.key]
    if layout.kind is Kind.LATEST:
        newest_first = (*key, written.c[OFFSET].desc())
        first = sa.select(*written.c).ext(postgresql.distinct_on(*key)).order_by(*newest_first)
        newest = first.subquery("newest")
        columns = [newest.c[column.name] for column in layout.columns]
        in_order = [newest.c[name] for name in layout.key]
        return sa.select(*columns).where(~newest.c[DELETED]).order_by(*in_order)
    columns = [
        column.merge.grouped(written, column.name, column.order).label(column.name)
        for column in layout.columns
    ]
    return sa.select(*columns).group_by(*key).order_by(*key)


def upsert(layout: Layout, table: sa.Table, rows: sa.Select[Any]) -> postgresql.Insert:
    """Merges ``rows``, at most one per key, into ``table``."""
    insert = postgresql.insert(table).from_select([c.name for c in layout.columns], rows)
    stored, incoming = table, insert.excluded
    values = {
        column.name: column.merge.combined(stored, incoming, column.name, column.order)
        for column in layout.columns
        if column.merge not in (MergeRule.KEY, MergeRule.FIXED)
    }
    if not values:
        return insert.on_conflict_do_nothing(constraint=names.key_name(table.name))
    newer = incoming[OFFSET] > stored.c[OFFSET] if layout.kind is Kind.LATEST else None
    return insert.on_conflict_do_update(
        constraint=names.key_name(table.name), set_=values, where=newer
    )


def delete_rows(layout: Layout, table: sa.Table, incoming: sa.FromClause) -> sa.Delete:
    """Removes the rows of a LATEST table that a newer row of ``incoming`` deletes."""
    return (
        sa.delete(table)
        .where(same_key(layout, table, incoming))
        .where(incoming.c[DELETED], table.c[OFFSET] < incoming.c[OFFSET])
    )


def same_key(layout: Layout, left: sa.FromClause, right: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether two rows have one key; NULL equals NULL."""
    nullable = {column.name for column in layout.columns if column.nullable}
    if not nullable & set(layout.key):
        return sa.and_(*(left.c[name] == right.c[name] for name in layout.key))
    # IS NOT DISTINCT FROM cannot be hashed, which a join needs; the hash of the key can.
    same = (left.c[name].is_not_distinct_from(right.c[name]) for name in layout.key)
    return sa.and_(_hash(layout, left) == _hash(layout, right), *same)


def _hash(layout: Layout, rows: sa.FromClause) -> sa.ColumnElement[int]:
    key = sa.func.row(*(rows.c[name] for name in layout.key))
    return sa.func.hash_record_extended(key, 0, type_=sa.BigInteger())
