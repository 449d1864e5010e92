"""Quantiles by DDSketch: how many values lie in each of buckets that grow with the values."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, pairwise
from numbers import Real
from typing import TypeAlias

import numpy as np
import polars as pl

from kappa.errors import DeclarationError
from kappa.processing.aggregates.inputs import counted, number, one_zero
from kappa.processing.aggregates.partials import Refusal
from kappa.processing.aggregates.sketches.boundaries import boundaries
from kappa.processing.aggregates.sketches.packed import Format, Packing, binary, steps
from kappa.processing.aggregates.worker_merged import Merger
from kappa.processing.expressions import Column, expression

_FINEST, _COARSEST = 0.001, 0.25


@dataclass(frozen=True, eq=False)
class Quantiles:
    """Values below which these shares of all values lie; nulls do not count.

    Each is within ``accuracy`` (a share of itself) of what PostgreSQL's ``percentile_disc``
    gives: the least value that is not below that share of the values. 0 is the minimum and 1
    the maximum, to the bit. Shown as double precision for one number, or for several as a JSON
    list; null where there is no value. Records with NaN or an infinity are dead letters.
    """

    column: Column
    at: float | Sequence[float] = (0.5, 0.9, 0.99)
    accuracy: float = 0.01
    where: pl.Expr | None = field(default=None, kw_only=True)
    ranked = False

    def __post_init__(self) -> None:
        try:
            shares = self._shares()
        except (TypeError, ValueError):
            shares = []
        if not shares or not all(0 <= share <= 1 for share in shares):
            raise DeclarationError(
                f"Quantiles: at is {self.at!r}", hint="give one or more shares from 0 to 1"
            )
        if not isinstance(self.accuracy, Real) or not _FINEST <= self.accuracy <= _COARSEST:
            raise DeclarationError(
                f"Quantiles: accuracy is {self.accuracy!r}",
                hint=f"give a share from {_FINEST} to {_COARSEST}; 0.01 is one percent",
            )

    def reads(self) -> list[pl.Expr]:
        return [expression(self.column)]

    def refusals(self, types: Sequence[pl.DataType]) -> list[Refusal]:
        """NaN and the infinities have no place among buckets."""
        (dtype,) = types
        if not dtype.is_float():
            return []
        unfit = (~counted(self.column, self.where).is_finite()).fill_null(False)
        return [Refusal(unfit, "NaN and infinity have no quantile: leave them out by where=")]

    def merger(self, name: str, types: Sequence[pl.DataType]) -> Merger:
        number(self, name, types)
        exact = tuple(Fraction(repr(share)).as_integer_ratio() for share in self._shares())
        return Buckets(exact, isinstance(self.at, int | float | Real), float(self.accuracy))

    def _shares(self) -> list[float]:
        """All shares as numbers of Python: as text those of NumPy name their type too."""
        several = [self.at] if isinstance(self.at, int | float | Real) else self.at
        if not all(isinstance(share, Real) for share in several):
            raise TypeError("a share is a number")
        return [float(share) for share in several]


_Body: TypeAlias = tuple[list[int], list[int], float, float]
"""The codes of the buckets as steps, their counts, and the least and the greatest value."""


@dataclass(frozen=True)
class Buckets:
    """Counts by bucket, and the least and the greatest value. Shares are ratios of integers."""

    shares: tuple[tuple[int, int], ...]
    single: bool
    accuracy: float

    @property
    def result(self) -> pl.DataType:
        return pl.Float64() if self.single else pl.List(pl.Float64())

    def prepared(self, inputs: Sequence[pl.Expr], rank: pl.Expr) -> pl.Expr:
        return one_zero(inputs[0].cast(pl.Float64), pl.Float64())

    def gathered(self, prepared: pl.Expr) -> pl.Expr:
        return prepared.sort()

    def partials(self, gathered: pl.Series) -> pl.Series:
        values = gathered.explode(empty_as_null=False).to_numpy()
        bounds = np.cumsum([0, *gathered.list.len()])
        codes = boundaries(self.accuracy).codes(values)
        new = np.ones(len(codes), bool)
        new[1:] = codes[1:] != codes[:-1]
        new[bounds[:-1][bounds[:-1] < bounds[1:]]] = True
        runs = np.flatnonzero(new)
        firsts, sizes = codes[runs].tolist(), np.diff(runs, append=len(codes)).tolist()
        ranges = pairwise(np.searchsorted(runs, bounds).tolist())
        least, greatest = gathered.list.first().to_list(), gathered.list.last().to_list()
        return binary(
            [
                _PACKING.pack((steps(firsts[a:b]), sizes[a:b], low, high)) if a < b else None
                for (a, b), low, high in zip(ranges, least, greatest, strict=True)
            ]
        )

    def merge(self, partials: Sequence[bytes]) -> bytes:
        counts: Counter[int] = Counter()
        bodies = [_PACKING.unpack(partial) for partial in partials]
        for stepped, sizes, _, _ in bodies:
            for code, size in zip(accumulate(stepped), sizes, strict=True):
                counts[code] += size
        codes = sorted(counts)
        least = min(body[2] for body in bodies)
        greatest = max(body[3] for body in bodies)
        return _PACKING.pack((steps(codes), [counts[code] for code in codes], least, greatest))

    def shown(self, partials: pl.Series) -> pl.Series:
        listed = [None if partial is None else self._quantiles(partial) for partial in partials]
        if self.single:
            return pl.Series([one and one[0] for one in listed], dtype=pl.Float64)
        return pl.Series(listed, dtype=self.result)

    def _quantiles(self, partial: bytes) -> list[float]:
        stepped, sizes, least, greatest = _PACKING.unpack(partial)
        codes, through = list(accumulate(stepped)), list(accumulate(sizes))
        of = boundaries(self.accuracy).value
        found = []
        for part, whole in self.shares:
            place = max(1, -(-part * through[-1] // whole))
            value = of(codes[bisect_left(through, place)])
            low = greatest if place == through[-1] else least
            high = least if place == 1 else greatest
            found.append(min(max(value, low), high))
        return found


_PACKING: Packing[_Body] = Packing(Format.BUCKETS, _Body)
