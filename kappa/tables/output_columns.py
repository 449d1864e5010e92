"""The columns that an output shows to those outside, with the types PostgreSQL gives them."""

from __future__ import annotations

from dataclasses import dataclass

from kappa.tables.finalize import Finalize, Plain, ScaledDecimal, WindowEnd
from kappa.tables.layout import Column, Layout
from kappa.tables.publication import LATE, MAIN
from kappa.tables.sqltypes import DOUBLE, TIMESTAMPTZ, SqlType, numeric

MOST_DIGITS = 38
"""Digits of a decimal that other systems take."""


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """One column of an output; ``nullable`` whether it may be NULL."""

    name: str
    type: SqlType
    nullable: bool


def output_columns(layout: Layout, output: str) -> tuple[OutputColumn, ...]:
    """The columns of the output of this name: those of its view, or of the late table."""
    if output == MAIN:
        stored = {column.name: column for column in layout.columns}
        return tuple(_shown(c.name, c.finalize, stored) for c in layout.view)
    if output == LATE:
        return tuple(_plain(column) for column in layout.late or ())
    side = next(side for side in layout.sides if side.name == output)
    return tuple(_plain(column) for column in side.shown)


def _shown(name: str, finalize: Finalize, stored: dict[str, Column]) -> OutputColumn:
    match finalize:
        case Plain(column):
            return OutputColumn(name, stored[column].type, stored[column].nullable)
        case ScaledDecimal(_, scale):
            return OutputColumn(name, numeric(MOST_DIGITS, scale), nullable=True)
        case WindowEnd():
            return OutputColumn(name, TIMESTAMPTZ, nullable=False)
    return OutputColumn(name, DOUBLE, nullable=True)


def _plain(column: Column) -> OutputColumn:
    return OutputColumn(column.name, column.type, column.nullable)
