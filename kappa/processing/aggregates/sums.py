"""Exact sums, and what is made of them: Sum and Mean, Variance and Stddev."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from kappa.processing.aggregates import exact, shown
from kappa.processing.aggregates.inputs import OfColumn, counted, number
from kappa.processing.aggregates.partials import Merge, Partial, Refusal
from kappa.processing.aggregates.shown import Shown


@dataclass(frozen=True, eq=False)
class _OfNumbers(OfColumn):
    def refusals(self, types: Sequence[pl.DataType]) -> list[Refusal]:
        condition = exact.too_large(counted(self.column, self.where), types[0])
        if condition is None:
            return []
        return [Refusal(condition, "the value is too large to be summed exactly")]


@dataclass(frozen=True, eq=False)
class Sum(_OfNumbers):
    """The exact sum; null where every value was null. Shown as numeric, or double for floats.

    Each double counts as the nearest multiple of 2**-32 (2.3e-10) and the sum of those is
    exact, so that no order can change a bit of it. Doubles from 2**63 up are dead letters;
    NaN and the infinities sum as IEEE 754 says.
    """

    def partials(self, name: str, types: Sequence[pl.DataType], rank: pl.Expr) -> list[Partial]:
        return _summed(name, counted(self.column, self.where), number(self, name, types))

    def shown(self, name: str, types: Sequence[pl.DataType]) -> Shown:
        return _total(name, types)


@dataclass(frozen=True, eq=False)
class Mean(_OfNumbers):
    """The exact sum (see Sum), as a double, divided by the count of values. Shown as double."""

    def partials(self, name: str, types: Sequence[pl.DataType], rank: pl.Expr) -> list[Partial]:
        summed = _summed(name, counted(self.column, self.where), number(self, name, types))
        return _with_count(name, summed)

    def shown(self, name: str, types: Sequence[pl.DataType]) -> Shown:
        return shown.Mean(_total(name, types), f"{name}__count")


@dataclass(frozen=True, eq=False)
class Variance(_OfNumbers):
    """The variance of a sample, or with ``population`` of all there is. Shown as double.

    It is worked out exactly and rounded once, of the values that Sum adds up: doubles count
    as multiples of 2**-32, so scale a column of much smaller numbers first. Null with fewer
    than two values (of a population: none); NaN where a value is NaN or infinite. Doubles from
    2**63 up are dead letters.
    """

    population: bool = False

    def partials(self, name: str, types: Sequence[pl.DataType], rank: pl.Expr) -> list[Partial]:
        return _squared(name, counted(self.column, self.where), number(self, name, types))

    def shown(self, name: str, types: Sequence[pl.DataType]) -> Shown:
        return _variance(name, types, self.population)


@dataclass(frozen=True, eq=False)
class Stddev(_OfNumbers):
    """The square root of Variance, of the double that it shows. Shown as double."""

    population: bool = False

    def partials(self, name: str, types: Sequence[pl.DataType], rank: pl.Expr) -> list[Partial]:
        return _squared(name, counted(self.column, self.where), number(self, name, types))

    def shown(self, name: str, types: Sequence[pl.DataType]) -> Shown:
        return shown.SquareRoot(_variance(name, types, self.population))


def _summed(name: str, value: pl.Expr, dtype: pl.DataType) -> list[Partial]:
    """The sum, and what becomes part of it when it is stored."""
    units = exact.units(value, dtype)
    partials = [Partial(f"{name}__units", pl.Int128(), Merge.SUM, units)]
    if dtype.is_float():
        special = exact.special(value)
        partials.append(
            Partial(f"{name}__special", pl.Float64(), Merge.SUM, special, internal=True, usual=0)
        )
    one = value.is_not_null().cast(pl.Int64)
    count = Partial(f"{name}__count", pl.Int64(), Merge.SUM, one, internal=True, usual=1)
    return [*partials, count]


def _squared(name: str, value: pl.Expr, dtype: pl.DataType) -> list[Partial]:
    """What ``_summed`` keeps, the infinities as NaN, and the squares."""
    low, middle, high = exact.squares(exact.units(value, dtype))
    squares = Partial(f"{name}__squares", pl.Int128(), Merge.SUM, low)
    above = (
        Partial(f"{name}__squares_{limb}", pl.Int128(), Merge.SUM, lift, internal=True, usual=0)
        for limb, lift in (("middle", middle), ("high", high))
    )
    summed = [
        replace(p, lift=p.lift * 0.0) if p.column == f"{name}__special" else p  # inf * 0 is NaN
        for p in _with_count(name, _summed(name, value, dtype))
    ]
    return [*summed, squares, *above]


def _with_count(name: str, partials: list[Partial]) -> list[Partial]:
    """With the count of values stored too."""
    count = f"{name}__count"
    return [replace(p, internal=False) if p.column == count else p for p in partials]


def _total(name: str, types: Sequence[pl.DataType]) -> shown.Total:
    (dtype,) = types
    units = f"{name}__units"
    if isinstance(dtype, pl.Decimal):
        return shown.ScaledDecimal(units, dtype.scale)
    return shown.FixedPoint(units) if dtype.is_float() else shown.Whole(units)


def _variance(name: str, types: Sequence[pl.DataType], population: bool) -> shown.Variance:
    (dtype,) = types
    return shown.Variance(
        units=f"{name}__units",
        squares=f"{name}__squares",
        count=f"{name}__count",
        bits=exact.FIXED_POINT_BITS if dtype.is_float() else 0,
        digits=dtype.scale if isinstance(dtype, pl.Decimal) else 0,
        population=population,
    )
