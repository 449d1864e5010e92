"""How a view column is computed from the table's partial columns.

The table stores what can be merged, the view shows what was asked for. Each object renders one
SQL expression and names the table columns it reads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import (
    ColumnElement,
    Double,
    FromClause,
    Interval,
    Numeric,
    Text,
    case,
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
class Variance:
    """The variance of ``count`` values, from the sums of their units and of those, squared.

    A unit is ``2**-bits * 10**-digits``. NULL of fewer than two values, of a ``population`` of
    none. Exact, as ``double precision`` rounded once.
    """

    units: str
    squares: str
    count: str
    bits: int
    digits: int
    population: bool

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.units, self.squares, self.count)

    def expression(self, table: FromClause) -> ColumnElement[Any]:
        units, squares = table.c[self.units], table.c[self.squares]
        count = cast(table.c[self.count], Numeric())
        above = count * squares - units * units
        below = count * (count if self.population else count - 1)
        if self.digits:
            below *= _numeral(self._unit)
        # A quotient that is not midway between two doubles is further from there than
        # 2**-54 / below**2: shifted by so many bits, cutting off the rest changes no rounding.
        shift = 54 + 2 * (_COUNT_BITS + math.ceil(math.log2(self._unit)))
        nearest = cast(func.div(above * _numeral(1 << shift), below), Double)
        unshift = literal_column(f"'{2.0 ** -(shift + 2 * self.bits)!r}'", Text())
        enough = table.c[self.count] >= (1 if self.population else 2)
        return case((enough, nearest * cast(unshift, Double)))

    @property
    def _unit(self) -> int:
        """How many squares of ``10**-digits`` make one."""
        return int(10 ** (2 * self.digits))


@dataclass(frozen=True, slots=True)
class SquareRoot:
    """The square root of a variance, as ``double precision``."""

    of: Variance

    @property
    def columns(self) -> tuple[str, ...]:
        return self.of.columns

    def expression(self, table: FromClause) -> ColumnElement[Any]:
        return func.sqrt(self.of.expression(table), type_=Double())


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
_COUNT_BITS = 80
"""Bits of a squared count of up to 2**40 values."""


def _numeral(value: int) -> ColumnElement[Any]:
    return literal_column(str(value), Numeric())
