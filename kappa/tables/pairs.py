"""What two versions show under one name, made comparable column by column.

Rows are matched by the key of their tables. Where the two have other keys, nothing says which row
became which: then rows are matched by all they show, and none is ever changed, only gone or new.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from kappa.tables import views
from kappa.tables.catalog import RelationColumn
from kappa.tables.layout import Layout, key_of
from kappa.tables.publication import MAIN
from kappa.tables.relations import rows_table, side_rows

Select = sa.Select[Any]

_ROUNDED = ("real", "double precision")
_NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")


@dataclass(frozen=True, slots=True)
class Retyped:
    """A column that the two versions show in different types."""

    column: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Pair:
    """An output of two versions, ready to be compared.

    Attributes:
        output: ``main`` for the rows of the processor's own view, else a side output's name.
        tables: where their rows are; an older and a newer version's.
        selects: columns ``k0 …`` by which rows are matched, then ``c0 …``, what is compared.
        keys: how many columns ``k0 …`` there are.
        key: what they are called; empty where rows are matched by all they show.
        shared: the columns that both versions show.
        columns: what ``c0 …`` are called.
        removed: columns that only the older version shows.
        added: columns that only the newer one shows.
    """

    output: str
    tables: tuple[str, str]
    selects: tuple[Select, Select]
    keys: int
    key: tuple[str, ...]
    shared: tuple[str, ...]
    columns: tuple[str, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]
    retyped: tuple[Retyped, ...]


def pairs(conn: Connection, before: Layout, after: Layout) -> Iterator[Pair]:
    """Every output that both versions have, the main one first."""
    mine, theirs = ({output.name: output for output in _outputs(each)} for each in (before, after))
    for name, output in mine.items():
        if name in theirs:
            yield _pair(conn, output, theirs[name])


@dataclass(frozen=True, slots=True)
class _Output:
    """What one version shows under one name."""

    name: str
    table: sa.Table
    key: tuple[str, ...]
    select: Select


def _outputs(layout: Layout) -> Iterator[_Output]:
    yield _Output(MAIN, rows_table(layout), layout.key, views.select_view(layout))
    for side in layout.sides:
        select = views.select_side(layout, side)
        yield _Output(side.name, side_rows(layout, side), key_of(side.columns), select)


def _pair(conn: Connection, before: _Output, after: _Output) -> Pair:
    shown = [_types(views.selected_columns(conn, each.select)) for each in (before, after)]
    shared = tuple(name for name in shown[0] if name in shown[1])
    kinds = {name: (shown[0][name], shown[1][name]) for name in shared}
    key = before.key if set(before.key) == set(after.key) else ()
    make = _matched_by_key if key else _matched_whole
    return Pair(
        output=before.name,
        tables=(before.table.name, after.table.name),
        selects=(make(before, key, kinds), make(after, key, kinds)),
        keys=len(key) if key else len(shared) + 1,
        key=key,
        shared=shared,
        columns=shared if key else (),
        removed=tuple(name for name in shown[0] if name not in shown[1]),
        added=tuple(name for name in shown[1] if name not in shown[0]),
        retyped=tuple(Retyped(name, *two) for name, two in kinds.items() if two[0] != two[1]),
    )


def _types(columns: tuple[RelationColumn, ...]) -> dict[str, str]:
    return {column.name: column.type for column in columns}


def _matched_by_key(
    output: _Output, key: tuple[str, ...], kinds: dict[str, tuple[str, str]]
) -> Select:
    # A key may be of another type in the other version: as text the two can be told alike.
    parts = [
        (output.table.c[name] if name not in kinds else _alike(output.table.c[name], *kinds[name]))
        for name in key
    ]
    values = [_alike(_shown(output, name), *two) for name, two in kinds.items()]
    return output.select.with_only_columns(
        *(part.label(f"k{place}") for place, part in enumerate(parts)),
        *(value.label(f"c{place}") for place, value in enumerate(values)),
        maintain_column_froms=True,
    )


def _matched_whole(
    output: _Output, key: tuple[str, ...], kinds: dict[str, tuple[str, str]]
) -> Select:
    """Rows that are alike are numbered, so that there are as many of them on both sides."""
    values = [_alike(_shown(output, name), *two) for name, two in kinds.items()]
    number = sa.func.row_number().over(partition_by=values or None)
    return output.select.with_only_columns(
        *(value.label(f"k{place}") for place, value in enumerate(values)),
        number.label(f"k{len(values)}"),
        maintain_column_froms=True,
    )


def _shown(output: _Output, name: str) -> sa.ColumnElement[Any]:
    shown: sa.ColumnElement[Any] = output.select.selected_columns[name]
    return shown.element if isinstance(shown, sa.Label) else shown


def _alike(value: sa.ColumnElement[Any], before: str, after: str) -> sa.ColumnElement[Any]:
    """The value in a type in which the two versions can be compared."""
    if before == after:
        return value
    if before.startswith(_NUMBERS) and after.startswith(_NUMBERS):
        # As PostgreSQL itself compares them. A double as numeric would lose its last digits.
        rounded = before.startswith(_ROUNDED) or after.startswith(_ROUNDED)
        return sa.cast(value, sa.Double() if rounded else sa.Numeric())
    return sa.cast(value, sa.Text())
