"""Partial aggregates: columns that records are lifted to and that merge in any order.

Merging is commutative and associative to the last bit, so that no batch size, partition
order or number of workers can change a result. Nulls do not count, as in SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import polars as pl

from kappa.processing.aggregates import exact


class Merge(Enum):
    """How two partials of one column become one."""

    SUM = "sum"
    MIN = "min"
    MAX = "max"

    FIRST = "first"
    LAST = "last"
    """The value, null or not, of the row whose ``order`` columns are least (greatest), NaN
    being the greatest number. A row where the last of them is null gives no value."""


@dataclass(frozen=True)
class Partial:
    """One column of an aggregate's state: ``lift`` makes it of one record, ``merge`` merges it.

    ``internal`` columns exist between batches only and are folded into another by ``settle``.
    While all of a batch's values in one equal ``usual``, the column may be left out. ``order``
    names the partials that FIRST and LAST go by.
    """

    column: str
    dtype: pl.DataType
    merge: Merge
    lift: pl.Expr
    internal: bool = False
    usual: float = 0
    order: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """A condition under which a record cannot be aggregated and becomes a dead letter."""

    condition: pl.Expr
    message: str


def merging(partial: Partial) -> pl.Expr:
    """The expression that merges the partials of one group."""
    column = pl.col(partial.column)
    match partial.merge:
        case Merge.SUM:
            return column.sum()
        case Merge.MIN:
            return column.min()  # of floats, NaN only where there is no number
        case Merge.MAX:
            return column.nan_max() if partial.dtype.is_float() else column.max()
        case Merge.FIRST:
            return column.min_by(_place(partial.order))
        case Merge.LAST:
            return column.max_by(_place(partial.order))


def _place(order: tuple[str, ...]) -> pl.Expr:
    last = pl.col(order[-1])
    return last if len(order) == 1 else pl.when(last.is_not_null()).then(pl.struct(order))


def settle(frame: pl.DataFrame, partials: Sequence[Partial]) -> pl.DataFrame:
    """``frame`` of merged partials as it is stored: internal columns folded in and gone.

    A sum's units become null where no value was counted, and ``NaN`` or an infinity, as
    text, where the values had one. Squares beyond an Int128 become text too.
    """
    squares = [p.column for p in partials if p.column.endswith("__squares")]
    frame = frame.with_columns(
        exact.joined(*(_limb(frame, limb) for limb in _limbs(low))).alias(low) for low in squares
    )
    return frame.select(_stored(frame, p.column) for p in partials if not p.internal)


def _limbs(squares: str) -> tuple[str, str, str]:
    return squares, f"{squares}_middle", f"{squares}_high"


def _limb(frame: pl.DataFrame, column: str) -> pl.Series:
    if column in frame.columns:
        return frame[column]
    return pl.zeros(len(frame), pl.Int128, eager=True)


def _stored(frame: pl.DataFrame, column: str) -> pl.Expr:
    name, _, part = column.partition("__")
    value = pl.col(column)
    if part not in ("units", "squares"):
        return value
    special, count = f"{name}__special", f"{name}__count"
    if part == "units" and special in frame.columns and bool((frame[special] != 0).any()):
        value = exact.with_specials(value, pl.col(special))
    if count in frame.columns:
        value = pl.when(pl.col(count) > 0).then(value)
    return value.alias(column)


def stored_dtype(partial: Partial) -> pl.DataType:
    """The type to read a stored column in, for ``unsettle``: any number, NaN and infinities."""
    return pl.String() if partial.dtype == pl.Int128 else partial.dtype


def unsettle(frame: pl.DataFrame, partials: Sequence[Partial]) -> pl.DataFrame:
    """Partials that merge, of ``frame`` as ``settle`` stored it.

    Columns of Int128 may come as text, which NaN and the infinities always do.
    """
    found: dict[str, pl.Series] = {}
    for partial in partials:
        column = partial.column
        name, _, part = column.partition("__")
        if part == "units":
            found[column], found[f"{name}__special"] = exact.without_specials(frame[column])
        elif part == "squares":
            found |= zip(_limbs(column), exact.split(frame[column]), strict=True)
        elif part == "count" and partial.internal:
            found[column] = frame[f"{name}__units"].is_not_null()
        elif not partial.internal:
            found[column] = frame[column]
        elif column not in found:  # counted from one flush to the next
            found[column] = pl.zeros(len(frame), partial.dtype, eager=True)
    return pl.DataFrame([found[p.column].cast(p.dtype).alias(p.column) for p in partials])
