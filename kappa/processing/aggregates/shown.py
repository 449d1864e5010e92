"""How what an aggregate shows is computed from the partials that are stored.

Each class names the columns it reads and works a row out in Python. The view does the same in
SQL (see kappa.versions.finalized) and comes to the same value, to the last bit. Numbers may be
given as the table holds them (int, Decimal) or as text, which is how ``settle`` has NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, TypeAlias

from kappa.processing.aggregates.exact import FIXED_POINT_BITS

Row: TypeAlias = Mapping[str, object]


class Shown(Protocol):
    """One column of a view."""

    def value(self, row: Row) -> object:
        """What the view shows for a row of the table."""
        ...


@dataclass(frozen=True, slots=True)
class Stored:
    """The column as it is."""

    column: str

    def value(self, row: Row) -> object:
        return row[self.column]


@dataclass(frozen=True, slots=True)
class Whole:
    """A sum of integers."""

    units: str

    def value(self, row: Row) -> Decimal | None:
        return _number(row[self.units])


@dataclass(frozen=True, slots=True)
class ScaledDecimal:
    """A sum of decimals with ``scale`` digits after the point."""

    units: str
    scale: int

    def value(self, row: Row) -> Decimal | None:
        units = _number(row[self.units])
        if units is None or not units.is_finite():
            return units
        sign, digits, _ = units.as_tuple()
        return Decimal((sign, digits, -self.scale))


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """A sum of doubles in units of 2**-32, as the nearest double."""

    units: str

    def value(self, row: Row) -> float | None:
        units = _number(row[self.units])
        if units is None or not units.is_finite():
            return None if units is None else float(units)
        return int(units) / (1 << FIXED_POINT_BITS)


Total: TypeAlias = Whole | ScaledDecimal | FixedPoint


@dataclass(frozen=True, slots=True)
class Mean:
    """A sum, as a double, divided by a count; None where the count is zero."""

    total: Total
    count: str

    def value(self, row: Row) -> float | None:
        total, count = self.total.value(row), _number(row[self.count])
        return float(total) / float(count) if total is not None and count else None


@dataclass(frozen=True, slots=True)
class Variance:
    """The variance of ``count`` values from the sums of their units and of those, squared.

    A unit is ``2**-bits * 10**-digits``. None of fewer than two values, of a ``population``
    of none.
    """

    units: str
    squares: str
    count: str
    bits: int
    digits: int
    population: bool

    def value(self, row: Row) -> float | None:
        count = int(_number(row[self.count]) or 0)
        units, squares = _number(row[self.units]), _number(row[self.squares])
        if count < (1 if self.population else 2) or units is None or squares is None:
            return None
        if not units.is_finite():
            return math.nan
        above = count * int(squares) - int(units) ** 2
        below = count * (count if self.population else count - 1)
        # Python rounds the quotient of two integers once, whatever their size.
        per_square: int = 10 ** (2 * self.digits) << 2 * self.bits
        return above / (below * per_square)


@dataclass(frozen=True, slots=True)
class SquareRoot:
    """The square root of a variance."""

    of: Variance

    def value(self, row: Row) -> float | None:
        variance = self.of.value(row)
        return None if variance is None else math.sqrt(variance)


def _number(value: object) -> Decimal | None:
    if value is None or isinstance(value, Decimal):
        return value
    assert isinstance(value, int | str)
    return Decimal(value)
