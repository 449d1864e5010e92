"""Layouts as SQLAlchemy tables, from which every statement about them is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

import sqlalchemy as sa

from kappa.tables import names
from kappa.tables.layout import DELETED, OFFSET, Column, Kind, Layout, Side, key_of
from kappa.tables.merge import MergeRule
from kappa.tables.sqltypes import BOOLEAN

Key = sa.PrimaryKeyConstraint | sa.UniqueConstraint

_DELETED_COLUMN = Column(DELETED, BOOLEAN, MergeRule.LATEST, nullable=False)


@lru_cache(maxsize=64)
def rows_table(layout: Layout) -> sa.Table:
    """The table of rows once it is finished, without its key.

    One object per layout, so that SQLAlchemy compiles each statement about it once.
    """
    return relation(layout.table, layout.columns)


@lru_cache(maxsize=64)
def side_rows(layout: Layout, side: Side) -> sa.Table:
    """The table of a side output's rows, without its key."""
    return relation(layout.side_table(side), side.columns)


def building_columns(layout: Layout) -> tuple[Column, ...]:
    """The columns of the table of rows while it is built.

    A latest-by-key table also holds the deletions that came by, which have no other columns.
    """
    if layout.kind is not Kind.LATEST:
        return layout.columns
    relaxed = (
        replace(column, nullable=column.nullable or is_absent_when_deleted(column))
        for column in layout.columns
    )
    return (*relaxed, _DELETED_COLUMN)


def relation(name: str, columns: Iterable[Column]) -> sa.Table:
    """A table of these columns, without a key."""
    return sa.Table(
        name, sa.MetaData(), *(_column(column, nullable=column.nullable) for column in columns)
    )


def temporary(name: str, columns: Iterable[Column]) -> sa.Table:
    """A table of this session's own that every transaction leaves empty."""
    return sa.Table(
        name,
        sa.MetaData(),
        *(_column(column, nullable=column.nullable) for column in columns),
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DELETE ROWS",
    )


def key_constraint(table: sa.Table, columns: tuple[Column, ...]) -> Key:
    """What makes the key unique: a primary key where no part of it can be NULL."""
    key = key_of(columns)
    nullable = any(column.nullable for column in columns if column.name in key)
    parts = [table.c[name] for name in key]
    if nullable:
        return sa.UniqueConstraint(
            *parts, name=names.key_name(table.name), postgresql_nulls_not_distinct=True
        )
    return sa.PrimaryKeyConstraint(*parts, name=names.key_name(table.name))


def is_absent_when_deleted(column: Column) -> bool:
    """Whether the record that deletes a key has no value for this column."""
    return column.merge is not MergeRule.KEY and column.name != OFFSET


def _column(column: Column, *, nullable: bool) -> sa.Column[object]:
    return sa.Column(column.name, column.type.sqlalchemy, nullable=nullable)
