"""How many different values there are: counted from the values themselves, or estimated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain
from typing import Any

import polars as pl

from kappa.errors import DeclarationError
from kappa.processing.aggregates.partials import Refusal
from kappa.processing.aggregates.sketches import registers
from kappa.processing.aggregates.sketches.packed import Format, Packing, binary, groups, steps
from kappa.processing.aggregates.sketches.plain import plain, plain_type
from kappa.processing.aggregates.worker_merged import Merger
from kappa.processing.expressions import Column, expression


@dataclass(frozen=True, eq=False)
class CountDistinct:
    """How many different values; nulls do not count. Shown as bigint, never null.

    Exact counts keep every value, so that a row grows with them. With ``exact=False`` they are
    estimated by HyperLogLog from 2**``precision`` bytes at most: the standard error is
    1.04 / sqrt(2**precision), 1.6 % for 12. All NaN are one value, and 0.0 is -0.0.
    """

    column: Column
    exact: bool = True
    precision: int = 12
    where: pl.Expr | None = field(default=None, kw_only=True)
    ranked = False

    def __post_init__(self) -> None:
        if type(self.precision) is not int or self.precision not in registers.PRECISIONS:
            least, most = registers.PRECISIONS[0], registers.PRECISIONS[-1]
            raise DeclarationError(
                f"CountDistinct: precision is {self.precision!r}",
                hint=f"give a whole number from {least} to {most}",
            )

    def reads(self) -> list[pl.Expr]:
        return [expression(self.column)]

    def refusals(self, types: Sequence[pl.DataType]) -> list[Refusal]:
        return []

    def merger(self, name: str, types: Sequence[pl.DataType]) -> Merger:
        (dtype,) = types
        form = plain_type(dtype)
        if form is None:
            raise DeclarationError(
                f"CountDistinct {name!r} cannot compare values of type {dtype}",
                hint="count one value of it, or its text: column.struct.json_encode()",
            )
        if not self.exact:
            return registers.Registers(dtype, self.precision)
        return ValueSet(dtype, form)


@dataclass(frozen=True)
class ValueSet:
    """The set of the values' plain forms, in order; integers as steps."""

    dtype: pl.DataType
    form: pl.DataType
    result = pl.Int64()

    def prepared(self, inputs: Sequence[pl.Expr], rank: pl.Expr) -> pl.Expr:
        return plain(inputs[0], self.dtype)

    def gathered(self, prepared: pl.Expr) -> pl.Expr:
        return prepared.unique().sort()

    def partials(self, gathered: pl.Series) -> pl.Series:
        return binary([self._pack(values) if values else None for values in groups(gathered)])

    def merge(self, partials: Sequence[bytes]) -> bytes:
        bodies: Iterable[Iterable[Any]] = map(self._packing.unpack, partials)
        if self.form == pl.Int64:
            bodies = map(accumulate, bodies)
        return self._pack(sorted(set(chain.from_iterable(bodies))))

    def shown(self, partials: pl.Series) -> pl.Series:
        unpack = self._packing.unpack
        return pl.Series([0 if p is None else len(unpack(p)) for p in partials], dtype=pl.Int64)

    @property
    def _packing(self) -> Packing[list[Any]]:
        return _PACKINGS[self.form.base_type()]

    def _pack(self, values: list[Any]) -> bytes:
        return self._packing.pack(steps(values) if self.form == pl.Int64 else values)


_PACKINGS: dict[object, Packing[list[Any]]] = {
    pl.Int64: Packing(Format.NUMBERS, list[int]),
    pl.String: Packing(Format.TEXTS, list[str]),
    pl.Binary: Packing(Format.BLOBS, list[bytes]),
}
