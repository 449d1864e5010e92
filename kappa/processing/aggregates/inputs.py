"""What aggregates take in: the values of the records that count, of types they can work with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from kappa.errors import DeclarationError
from kappa.processing.aggregates.partials import Refusal
from kappa.processing.aggregates.shown import Shown, Stored
from kappa.processing.expressions import Column, expression


def counted(column: Column, where: pl.Expr | None) -> pl.Expr:
    """The column's values; null where ``where`` is not true."""
    value = expression(column)
    return value if where is None else pl.when(where).then(value)


@dataclass(frozen=True, eq=False)
class OfColumn:
    """An aggregate of one column's values that refuses none and shows a partial as it is."""

    column: Column
    where: pl.Expr | None = field(default=None, kw_only=True)

    def reads(self) -> list[pl.Expr]:
        return [expression(self.column)]

    def refusals(self, types: Sequence[pl.DataType]) -> list[Refusal]:
        return []

    def shown(self, name: str, types: Sequence[pl.DataType]) -> Shown:
        return Stored(name)


def number(aggregate: object, name: str, types: Sequence[pl.DataType]) -> pl.DataType:
    """The type of the only input.

    Raises:
        DeclarationError: it is no number.
    """
    (dtype,) = types
    if not dtype.is_numeric():
        raise DeclarationError(
            f"{type(aggregate).__name__} {name!r} needs a number, not {dtype}",
            hint="cast the column: pl.col(…).cast(pl.Float64)",
        )
    return dtype


def ordered(
    aggregate: object, name: str, value: pl.Expr, dtype: pl.DataType
) -> tuple[pl.Expr, pl.DataType]:
    """``value`` such that Polars orders it as PostgreSQL does, and its type.

    Raises:
        DeclarationError: values of this type have no order.
    """
    if dtype.is_nested() or dtype in (pl.Boolean, pl.Binary, pl.Null):
        raise DeclarationError(
            f"{type(aggregate).__name__} {name!r} cannot order values of type {dtype}",
            hint="use a number, text, date or time",
        )
    if isinstance(dtype, pl.Enum | pl.Categorical):
        return value.cast(pl.String), pl.String()  # Polars has them in the order of their codes
    return one_zero(value, dtype), dtype


def one_zero(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """``value`` with 0.0 for -0.0: the two are equal, so which of them came first would show."""
    if not dtype.is_float():
        return value
    return pl.when(value == 0).then(pl.lit(0.0, dtype)).otherwise(value)
