"""Aggregates that merge: lift a record to partials, merge partials; the view finalizes them.

Merging is commutative and associative to the last bit, so that no batch size, partition
order or number of workers can change a result. Nulls do not count, as in SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import polars as pl

from kappa.errors import DeclarationError
from kappa.processing.expressions import Column, expression

FIXED_POINT_BITS = 32
"""Sums of doubles are integers in units of 2**-32 (2.3e-10)."""

UNITS_LIMIT = 1 << 95
"""Summands at or beyond this many units are refused; 2**32 of them fit an Int128."""


class Merge(Enum):
    """How two partials of one column become one."""

    SUM = "sum"
    MIN = "min"
    MAX = "max"


@dataclass(frozen=True)
class Partial:
    """One column of an aggregate's state: ``lift`` makes it of one record, ``merge`` merges it.

    ``internal`` columns exist between batches only and are folded into another by ``settle``.
    While all of a batch's values in one equal ``usual``, the column may be left out.
    """

    column: str
    dtype: pl.DataType
    merge: Merge
    lift: pl.Expr
    internal: bool = False
    usual: float = 0


@dataclass(frozen=True)
class Refusal:
    """A condition under which a record cannot be aggregated and becomes a dead letter."""

    condition: pl.Expr
    message: str


@dataclass(frozen=True, eq=False)
class Count:
    """How many records; with a column, how many where it is not null. Shown as bigint."""

    column: Column | None = None

    def reads(self) -> list[pl.Expr]:
        return [] if self.column is None else [expression(self.column)]

    def partials(self, name: str, dtype: pl.DataType | None) -> list[Partial]:
        one = pl.lit(1, pl.Int64)
        lift = one if self.column is None else expression(self.column).is_not_null().cast(pl.Int64)
        return [Partial(name, pl.Int64(), Merge.SUM, lift)]

    def refusals(self, dtype: pl.DataType | None) -> list[Refusal]:
        return []


@dataclass(frozen=True, eq=False)
class Sum:
    """The exact sum; null where every value was null. Shown as numeric, or double for floats.

    Each double counts as the nearest multiple of 2**-32 (2.3e-10) and the sum of those is
    exact, so that no order can change a bit of it. Doubles from 2**63 up are dead letters;
    NaN and the infinities sum as IEEE 754 says.
    """

    column: Column

    def reads(self) -> list[pl.Expr]:
        return [expression(self.column)]

    def partials(self, name: str, dtype: pl.DataType | None) -> list[Partial]:
        return _summed(name, expression(self.column), _numeric(self, name, dtype))

    def refusals(self, dtype: pl.DataType | None) -> list[Refusal]:
        return _too_large(expression(self.column), dtype)


@dataclass(frozen=True, eq=False)
class Mean:
    """The exact sum (see Sum), as a double, divided by the count of values. Shown as double."""

    column: Column

    def reads(self) -> list[pl.Expr]:
        return [expression(self.column)]

    def partials(self, name: str, dtype: pl.DataType | None) -> list[Partial]:
        summed = _summed(name, expression(self.column), _numeric(self, name, dtype))
        return [replace(p, internal=False) if p.column == f"{name}__count" else p for p in summed]

    def refusals(self, dtype: pl.DataType | None) -> list[Refusal]:
        return _too_large(expression(self.column), dtype)


@dataclass(frozen=True, eq=False)
class Min:
    """The least value; strings by their bytes, NaN above every number (as PostgreSQL has it)."""

    column: Column

    def reads(self) -> list[pl.Expr]:
        return [expression(self.column)]

    def partials(self, name: str, dtype: pl.DataType | None) -> list[Partial]:
        return _extreme(self, name, dtype, Merge.MIN)

    def refusals(self, dtype: pl.DataType | None) -> list[Refusal]:
        return []


@dataclass(frozen=True, eq=False)
class Max:
    """The greatest value; strings by their bytes, NaN above every number."""

    column: Column

    def reads(self) -> list[pl.Expr]:
        return [expression(self.column)]

    def partials(self, name: str, dtype: pl.DataType | None) -> list[Partial]:
        return _extreme(self, name, dtype, Merge.MAX)

    def refusals(self, dtype: pl.DataType | None) -> list[Refusal]:
        return []


Aggregate = Count | Sum | Mean | Min | Max


def merging(partial: Partial) -> pl.Expr:
    """The expression that merges the partials of one group."""
    column = pl.col(partial.column)
    if partial.merge is Merge.SUM:
        return column.sum()
    if partial.dtype.is_float():
        # NaN is the greatest: it wins a maximum and loses a minimum against any number.
        return column.min() if partial.merge is Merge.MIN else column.nan_max()
    return column.min() if partial.merge is Merge.MIN else column.max()


def settle(frame: pl.DataFrame, partials: Sequence[Partial]) -> pl.DataFrame:
    """``frame`` of merged partials as it is stored: internal columns folded in and gone.

    A sum's units become null where no value was counted, and ``NaN`` or an infinity, as
    text, where the values had one.
    """
    stored = {p.column: pl.col(p.column) for p in partials if not p.internal}
    for units in [p.column for p in partials if p.column.endswith("__units")]:
        name = units.removesuffix("__units")
        if f"{name}__special" in frame.columns and bool((frame[f"{name}__special"] != 0).any()):
            stored[units] = _with_specials(stored[units], pl.col(f"{name}__special"))
        if f"{name}__count" in frame.columns:
            stored[units] = pl.when(pl.col(f"{name}__count") > 0).then(stored[units])
    return frame.select(expr.alias(column) for column, expr in stored.items())


def _with_specials(units: pl.Expr, special: pl.Expr) -> pl.Expr:
    return (
        pl.when(special.is_nan())
        .then(pl.lit("NaN"))
        .when(special == float("inf"))
        .then(pl.lit("Infinity"))
        .when(special == float("-inf"))
        .then(pl.lit("-Infinity"))
        .otherwise(units.cast(pl.String))
    )


def _numeric(aggregate: Aggregate, name: str, dtype: pl.DataType | None) -> pl.DataType:
    if dtype is None or not dtype.is_numeric():
        raise DeclarationError(
            f"{type(aggregate).__name__} {name!r} needs a number, not {dtype}",
            hint="cast the column: pl.col(…).cast(pl.Float64)",
        )
    return dtype


def _summed(name: str, value: pl.Expr, dtype: pl.DataType) -> list[Partial]:
    counted = value.is_not_null().cast(pl.Int64)
    count = Partial(f"{name}__count", pl.Int64(), Merge.SUM, counted, internal=True, usual=1)
    if not dtype.is_float():
        whole = value.to_physical() if dtype.is_decimal() else value
        units = whole.cast(pl.Int128).fill_null(0)
        return [Partial(f"{name}__units", pl.Int128(), Merge.SUM, units), count]
    finite = value.is_finite().fill_null(False)
    scaled = pl.when(finite).then(value.cast(pl.Float64)).otherwise(0.0) * 2.0**FIXED_POINT_BITS
    special = pl.when(finite | value.is_null()).then(0.0).otherwise(value.cast(pl.Float64))
    return [
        Partial(
            f"{name}__units", pl.Int128(), Merge.SUM, scaled.round().cast(pl.Int128, strict=False)
        ),
        Partial(f"{name}__special", pl.Float64(), Merge.SUM, special, internal=True, usual=0),
        count,
    ]


def _too_large(value: pl.Expr, dtype: pl.DataType | None) -> list[Refusal]:
    if dtype is None or (dtype.is_integer() and dtype != pl.Int128):
        return []
    if dtype.is_float():
        limit = float(UNITS_LIMIT >> FIXED_POINT_BITS)
        condition = value.is_finite() & (value.abs() >= limit)
    else:
        whole = value.to_physical() if dtype.is_decimal() else value
        condition = (whole.cast(pl.Int128) >= UNITS_LIMIT) | (whole.cast(pl.Int128) <= -UNITS_LIMIT)
    return [Refusal(condition.fill_null(False), "the value is too large to be summed exactly")]


def _extreme(
    aggregate: Min | Max, name: str, dtype: pl.DataType | None, merge: Merge
) -> list[Partial]:
    if dtype is None or dtype.is_nested() or dtype in (pl.Boolean, pl.Binary, pl.Null):
        raise DeclarationError(
            f"{type(aggregate).__name__} {name!r} cannot order values of type {dtype}",
            hint="use a number, text, date or time",
        )
    value = expression(aggregate.column)
    # Adding zero turns -0.0 into 0.0; the two are equal, so their order would show.
    return [Partial(name, dtype, merge, value + 0.0 if dtype.is_float() else value)]
