"""Aggregates that keep some of the values: the greatest, or the first in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain
from operator import itemgetter
from typing import Any

import polars as pl

from kappa.errors import DeclarationError
from kappa.processing.aggregates.inputs import counted
from kappa.processing.aggregates.partials import Refusal
from kappa.processing.aggregates.sketches.packed import Format, Packing, binary
from kappa.processing.aggregates.sketches.plain import halves, plain, plain_type
from kappa.processing.aggregates.sketches.shapes import Shape, shape_of
from kappa.processing.aggregates.worker_merged import Merger
from kappa.processing.expressions import Column, expression

MOST = 10_000
"""Values kept per row, at most."""


@dataclass(frozen=True, eq=False)
class TopK:
    """The ``k`` greatest values, or the values of the ``k`` records greatest in ``by``.

    Greatest first, each as often as it comes; of records equal in ``by`` the last comes first,
    as in ArgMax. Text is ordered by its bytes, and in ``by`` NaN is above every number. A record
    counts where neither is null. Shown as a JSON list, null where no record counts.
    """

    column: Column
    k: int
    by: Column | None = None
    where: pl.Expr | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_count("TopK: k", self.k)

    @property
    def ranked(self) -> bool:
        return self.by is not None

    def reads(self) -> list[pl.Expr]:
        by = [] if self.by is None else [expression(self.by)]
        return [expression(self.column), *by]

    def refusals(self, types: Sequence[pl.DataType]) -> list[Refusal]:
        return _refusals("TopK", self.column, types[0], self.where)

    def merger(self, name: str, types: Sequence[pl.DataType]) -> Merger:
        shape = shape_of(types[0], f"TopK {name!r}")
        ordering = types[-1]
        if plain_type(ordering) is None:
            raise DeclarationError(
                f"TopK {name!r} cannot order values of type {ordering}",
                hint="order by a number, text, date or time: by=…",
            )
        return Chosen(shape, self.k, ordering, self.ranked, descending=True)


@dataclass(frozen=True, eq=False)
class Collect:
    """The first ``limit`` values by event time, ties by partition and offset; no nulls.

    Shown as a JSON list, null where there is no value. Collects structs too.
    """

    column: Column
    limit: int
    where: pl.Expr | None = field(default=None, kw_only=True)
    ranked = True

    def __post_init__(self) -> None:
        _check_count("Collect: limit", self.limit)

    def reads(self) -> list[pl.Expr]:
        return [expression(self.column)]

    def refusals(self, types: Sequence[pl.DataType]) -> list[Refusal]:
        return _refusals("Collect", self.column, types[0], self.where)

    def merger(self, name: str, types: Sequence[pl.DataType]) -> Merger:
        shape = shape_of(types[0], f"Collect {name!r}")
        return Chosen(shape, self.limit, None, by_rank=True, descending=False)


def _check_count(field: str, count: int) -> None:
    if type(count) is not int or not 1 <= count <= MOST:
        raise DeclarationError(
            f"{field} is {count!r}", hint=f"give a whole number from 1 to {MOST:,}"
        )


def _refusals(
    kind: str, column: Column, dtype: pl.DataType, where: pl.Expr | None
) -> list[Refusal]:
    unfit = shape_of(dtype, kind).unfit(counted(column, where))
    if unfit is None:
        return []
    return [Refusal(unfit, "a JSON list cannot hold NaN, infinity, NUL or years beyond 9999")]


@dataclass(frozen=True)
class Chosen:
    """Entries in order, of which the first ``most`` count.

    An entry's columns are what it is ordered by, and the parts of its value, which in `TopK`
    without ``by`` are the same. A partial holds the entries column by column.

    Attributes:
        shape: how a value is made up.
        ordering: the type of what they are ordered by first; None: nothing but the rank.
        by_rank: whether the record's rank orders them (next).
        descending: whether the greatest comes first.
    """

    shape: Shape
    most: int
    ordering: pl.DataType | None
    by_rank: bool
    descending: bool

    @property
    def result(self) -> pl.DataType:
        return pl.List(self.shape.shown)

    def prepared(self, inputs: Sequence[pl.Expr], rank: pl.Expr) -> pl.Expr:
        columns = self.shape.apart(inputs[0])
        if self.by_rank:
            columns = [*halves(rank), *columns]
        if self.by_rank and self.ordering is not None:
            columns = [plain(inputs[1], self.ordering), *columns]
        entry = pl.struct(column.alias(str(place)) for place, column in enumerate(columns))
        return pl.when(pl.all_horizontal(read.is_not_null() for read in inputs)).then(entry)

    def gathered(self, prepared: pl.Expr) -> pl.Expr:
        order = [prepared.struct.field(str(place)) for place in range(self._ordered)]
        return prepared.sort_by(order, descending=self.descending).head(self.most)

    def partials(self, gathered: pl.Series) -> pl.Series:
        entries = gathered.explode(empty_as_null=False).struct.unnest()
        columns = [column.to_list() for column in entries]
        ends = list(accumulate(gathered.list.len().to_list()))
        ranges = zip([0, *ends], ends, strict=False)
        return binary(
            [_PACKING.pack([c[a:b] for c in columns]) if a < b else None for a, b in ranges]
        )

    def merge(self, partials: Sequence[bytes]) -> bytes:
        bodies = map(_PACKING.unpack, partials)
        entries = list(chain.from_iterable(zip(*body, strict=True) for body in bodies))
        entries.sort(key=itemgetter(*range(self._ordered)), reverse=self.descending)
        return _PACKING.pack([list(column) for column in zip(*entries[: self.most], strict=True)])

    def shown(self, partials: pl.Series) -> pl.Series:
        rows: list[int] = []
        parts: list[list[Any]] = [[] for _ in self.shape.types]
        for row, partial in enumerate(partials):
            if partial is not None:
                values = _PACKING.unpack(partial)[-len(parts) :]
                rows += [row] * len(values[0])
                for part, more in zip(parts, values, strict=True):
                    part += more
        columns = [
            pl.Series(str(place), part, dtype=plain_type(dtype))
            for place, (part, dtype) in enumerate(zip(parts, self.shape.types, strict=True))
        ]
        value = self.shape.together([pl.col(column.name) for column in columns]).alias("@value")
        flat = pl.DataFrame([pl.Series("@row", rows, dtype=pl.Int64), *columns])
        lists = flat.select("@row", value).group_by("@row", maintain_order=True).agg("@value")
        every = pl.select(pl.int_range(len(partials), dtype=pl.Int64).alias("@row"))
        return every.join(lists, on="@row", how="left", maintain_order="left")["@value"]

    @property
    def _ordered(self) -> int:
        """How many columns, the first ones, entries are ordered by."""
        return (self.ordering is not None) + 2 * self.by_rank


_PACKING: Packing[list[list[Any]]] = Packing(Format.CHOSEN, list[list[Any]])
