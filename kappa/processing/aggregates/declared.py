"""Aggregates that people declare: what all have in common, counts and extremes.

A record is lifted to partials, partials merge, the view shows what they come to. Nulls do not
count, as in SQL. With ``where`` only the records count for which it is true; the columns of the
others are worked out all the same, so an expression that fails on one makes it a dead letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import polars as pl

from kappa.processing.aggregates.inputs import OfColumn, counted, ordered
from kappa.processing.aggregates.partials import Merge, Partial, Refusal
from kappa.processing.aggregates.shown import Shown, Stored
from kappa.processing.expressions import Column, expression


class Aggregate(Protocol):
    """A result column of a windowed aggregate."""

    @property
    def where(self) -> pl.Expr | None:
        """The condition under which a record counts; null is false. None: each does."""
        ...

    def reads(self) -> list[pl.Expr]:
        """Its inputs."""
        ...

    def refusals(self, types: Sequence[pl.DataType]) -> list[Refusal]:
        """When a record cannot be aggregated, given the inputs' types."""
        ...


@runtime_checkable
class SqlMerged(Aggregate, Protocol):
    """An aggregate whose partials PostgreSQL can merge."""

    def partials(self, name: str, types: Sequence[pl.DataType], rank: pl.Expr) -> list[Partial]:
        """The columns it is kept in. ``rank`` orders records, as a unique Int128.

        Raises:
            DeclarationError: it cannot take inputs of these types.
        """
        ...

    def shown(self, name: str, types: Sequence[pl.DataType]) -> Shown:
        """What the view makes of the stored columns."""
        ...


@dataclass(frozen=True, eq=False)
class Count:
    """How many records; with a column, how many where it is not null. Shown as bigint."""

    column: Column | None = None
    where: pl.Expr | None = field(default=None, kw_only=True)

    def reads(self) -> list[pl.Expr]:
        return [] if self.column is None else [expression(self.column)]

    def refusals(self, types: Sequence[pl.DataType]) -> list[Refusal]:
        return []

    def partials(self, name: str, types: Sequence[pl.DataType], rank: pl.Expr) -> list[Partial]:
        return [Partial(name, pl.Int64(), Merge.SUM, self._one())]

    def shown(self, name: str, types: Sequence[pl.DataType]) -> Shown:
        return Stored(name)

    def _one(self) -> pl.Expr:
        """1 for a record that counts, else 0."""
        if self.column is None and self.where is None:
            return pl.lit(1, pl.Int64)
        value = pl.lit(True) if self.column is None else self.column
        return counted(value, self.where).is_not_null().cast(pl.Int64)


@dataclass(frozen=True, eq=False)
class Min(OfColumn):
    """The least value; strings by their bytes, NaN above every number (as PostgreSQL has it)."""

    def partials(self, name: str, types: Sequence[pl.DataType], rank: pl.Expr) -> list[Partial]:
        value, dtype = ordered(self, name, counted(self.column, self.where), types[0])
        return [Partial(name, dtype, Merge.MIN, value)]


@dataclass(frozen=True, eq=False)
class Max(OfColumn):
    """The greatest value; strings by their bytes, NaN above every number."""

    def partials(self, name: str, types: Sequence[pl.DataType], rank: pl.Expr) -> list[Partial]:
        value, dtype = ordered(self, name, counted(self.column, self.where), types[0])
        return [Partial(name, dtype, Merge.MAX, value)]
