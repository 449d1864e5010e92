"""How a view column is computed from the table's partial columns.

The table stores what can be merged, the view shows what was asked for. Each object renders one
SQL expression and names the table columns it reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import (
    ColumnElement,
    Double,
    FromClause,
    Interval,
    Numeric,
    Text,
    cast,
    func,
    literal_column,
)


class Finalize(Protocol):
    """One expression over a table's columns."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The table columns it reads."""
        ...

    def expression(self, table: FromClause) -> ColumnElement[Any]: ...


@dataclass(frozen=True, slots=True)
class Plain:
    """The column as it is stored."""

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def expression(self, table: FromClause) -> ColumnElement[Any]:
        return table.c[self.column]


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """A ``numeric`` count of units of 2⁻³² as the nearest ``double precision``.

    The product is exact and the conversion rounds once, so the result is the correctly rounded
    sum. NaN and the infinities pass through.
    """

    units: str

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.units,)

    def expression(self, table: FromClause) -> ColumnElement[Any]:
        return cast(table.c[self.units] * _UNIT, Double)


@dataclass(frozen=True, slots=True)
class ScaledDecimal:
    """An integer count of units of 10⁻ˢ (``scale`` = s) as an exact ``numeric``."""

    units: str
    scale: int

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.units,)

    def expression(self, table: FromClause) -> ColumnElement[Any]:
        unit = literal_column(f"{10**-self.scale:.{self.scale}f}", Numeric())
        return cast(table.c[self.units], Numeric()) * unit


@dataclass(frozen=True, slots=True)
class Mean:
    """A total divided by a count, as ``double precision``; NULL when the count is zero.

    ``total`` finalizes the sum (`Plain` for integers, `FixedPoint`, `ScaledDecimal`).
    """

    total: Finalize
    count: str

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.total.columns, self.count)

    def expression(self, table: FromClause) -> ColumnElement[Any]:
        count = func.nullif(table.c[self.count], 0)
        return cast(self.total.expression(table), Double) / cast(count, Double)


@dataclass(frozen=True, slots=True)
class WindowEnd:
    """The exclusive end of a window of ``size_ms`` milliseconds beginning at ``start``.

    Elapsed time, not calendar time: the interval holds no days, so no session's time zone
    changes it.
    """

    start: str
    size_ms: int

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.start,)

    def expression(self, table: FromClause) -> ColumnElement[Any]:
        size = literal_column(f"'{self.size_ms} milliseconds'", Text())
        return table.c[self.start] + cast(size, Interval)


_UNIT = literal_column("0.00000000023283064365386962890625", Numeric())
