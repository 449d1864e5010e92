"""Aggregates that keep the value of one record: First and Last, ArgMin and ArgMax.

Beside the value a partial keeps the record's rank (event time, then partition, then offset), so
that the same record is picked in whatever order partials meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from kappa.processing.aggregates.inputs import OfColumn, counted, ordered
from kappa.processing.aggregates.partials import Merge, Partial
from kappa.processing.expressions import Column, expression


@dataclass(frozen=True, eq=False)
class First(OfColumn):
    """The first value that is not null, by event time, then partition, then offset."""

    def partials(self, name: str, types: Sequence[pl.DataType], rank: pl.Expr) -> list[Partial]:
        return _by_rank(self, name, types[0], rank, Merge.FIRST, Merge.MIN)


@dataclass(frozen=True, eq=False)
class Last(OfColumn):
    """The last value that is not null, by event time, then partition, then offset."""

    def partials(self, name: str, types: Sequence[pl.DataType], rank: pl.Expr) -> list[Partial]:
        return _by_rank(self, name, types[0], rank, Merge.LAST, Merge.MAX)


@dataclass(frozen=True, eq=False)
class _OfColumnBy(OfColumn):
    by: Column

    def reads(self) -> list[pl.Expr]:
        return [expression(self.column), expression(self.by)]


@dataclass(frozen=True, eq=False)
class ArgMin(_OfColumnBy):
    """The column's value, which may be null, in the record where ``by`` is least.

    Records whose ``by`` is null do not count. Of several with the least ``by`` the first counts;
    ``by`` is ordered as Min orders it.
    """

    def partials(self, name: str, types: Sequence[pl.DataType], rank: pl.Expr) -> list[Partial]:
        return _by_value(self, name, types, rank, Merge.FIRST, Merge.MIN)


@dataclass(frozen=True, eq=False)
class ArgMax(_OfColumnBy):
    """The column's value, which may be null, in the record where ``by`` is greatest.

    Records whose ``by`` is null do not count. Of several with the greatest ``by`` the last
    counts, so that ``ArgMax("price", by="changed_at")`` is the price as it was changed last;
    ``by`` is ordered as Max orders it.
    """

    def partials(self, name: str, types: Sequence[pl.DataType], rank: pl.Expr) -> list[Partial]:
        return _by_value(self, name, types, rank, Merge.LAST, Merge.MAX)


def _by_rank(
    pick: First | Last,
    name: str,
    dtype: pl.DataType,
    rank: pl.Expr,
    picked: Merge,
    extreme: Merge,
) -> list[Partial]:
    value, place = counted(pick.column, pick.where), f"{name}__rank"
    present = pl.when(value.is_not_null()).then(rank)
    return [
        Partial(name, dtype, picked, value, order=(place,)),
        Partial(place, pl.Int128(), extreme, present),
    ]


def _by_value(
    pick: ArgMin | ArgMax,
    name: str,
    types: Sequence[pl.DataType],
    rank: pl.Expr,
    picked: Merge,
    extreme: Merge,
) -> list[Partial]:
    dtype, by_dtype = types
    by, by_dtype = ordered(pick, name, counted(pick.by, pick.where), by_dtype)
    counts = by.is_not_null()
    order = (f"{name}__by", f"{name}__rank")
    return [
        Partial(name, dtype, picked, pl.when(counts).then(expression(pick.column)), order=order),
        Partial(order[0], by_dtype, extreme, by),
        Partial(order[1], pl.Int128(), picked, pl.when(counts).then(rank), order=order),
    ]
