"""What PostgreSQL could not hold, found before it is sent: poison, not a reason to retry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from kappa.tables.copy import json_text
from kappa.tables.layout import DELETED, Column
from kappa.tables.merge import MergeRule
from kappa.tables.relations import is_absent_when_deleted
from kappa.tables.sqltypes import (
    BIGINT,
    DATE,
    INTEGER,
    JSONB,
    SMALLINT,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    SqlType,
    children,
)

MOST_KEY_BYTES = 2_600
"""An entry of a B-tree index must fit a third of a page: 2,704 bytes with its header."""


@dataclass(frozen=True, slots=True)
class Refused:
    """One row that cannot be stored: the first column at fault, and why."""

    position: int
    column: str
    reason: str


_NUL = "holds NUL, which text in PostgreSQL cannot"
_NOT_JSON = "holds NaN or infinity, which JSON cannot"
_RANGE = "is out of range"
_YEARS = "is outside the years 0001 to 9999"
_TOO_FINE = "is finer than a microsecond"

_FIRST_DAY, _END_DAY = -719_162, 2_932_897
_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


@dataclass(frozen=True, slots=True)
class _Check:
    column: str
    reason: str
    fails: pl.Expr
    """Per value; null counts as false."""
    suspected: pl.Expr
    """One value: true if any of them fails. May be quicker to know."""


def check_storable(frame: pl.DataFrame, columns: Sequence[Column]) -> tuple[Refused, ...]:
    """The rows of ``frame`` PostgreSQL would refuse, by position; empty when all fit.

    Looks at NUL in text (also inside lists and structs), integers and decimals beyond their
    column, times outside the years 0001 to 9999 or finer than a microsecond, NaN and infinity
    inside lists and structs, NULL where the column has none, and keys too long for an index.
    Columns the frame lacks are not looked at.
    """
    checks = [*_column_checks(frame, columns), *_key_checks(frame, columns)]
    if not checks:
        return ()
    failing = frame.select(c.suspected.alias(str(number)) for number, c in enumerate(checks))
    if not any(failing.row(0)):
        return ()
    verdicts = frame.select(
        check.fails.fill_null(value=False).alias(str(number)) for number, check in enumerate(checks)
    )
    found: dict[int, Refused] = {}
    for check, verdict in zip(checks, verdicts.iter_columns(), strict=True):
        if verdict.any():
            for position in verdict.arg_true().to_list():
                found.setdefault(position, Refused(position, check.column, check.reason))
    return tuple(found[position] for position in sorted(found))


def _column_checks(frame: pl.DataFrame, columns: Sequence[Column]) -> Iterator[_Check]:
    for column in columns:
        dtype = frame.schema.get(column.name)
        if dtype is None:
            continue
        value = pl.col(column.name)
        if not column.nullable:
            missing = value.is_null()
            if DELETED in frame.columns and is_absent_when_deleted(column):
                missing &= ~pl.col(DELETED)
            yield _Check(column.name, "is null", missing, missing.any())
        for reason, fails in _value_checks(value, dtype, column.type):
            yield _Check(column.name, reason, fails, _suspected(value, dtype, reason, fails))


def _suspected(value: pl.Expr, dtype: pl.DataType, reason: str, fails: pl.Expr) -> pl.Expr:
    """Whether ``fails`` holds anywhere. One long text is searched sooner than many short ones."""
    if reason == _NUL and isinstance(dtype, pl.String):
        return value.str.join("").str.contains("\0", literal=True)
    return fails.any()


def _key_checks(frame: pl.DataFrame, columns: Sequence[Column]) -> Iterator[_Check]:
    key = [c.name for c in columns if c.merge is MergeRule.KEY and c.name in frame.columns]
    lengths = [_bytes_in_index(pl.col(name), frame.schema[name]) for name in key]
    wide = [length for length in lengths if length is not None]
    if wide:
        long = pl.sum_horizontal(wide) > _room(key)
        yield _Check(", ".join(key), "is too long for a key", long, long.any())


def _room(key: list[str]) -> int:
    return MOST_KEY_BYTES - 24 * len(key)


def _bytes_in_index(value: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    """How many bytes a value of a varying length takes; None for a short fixed length."""
    if isinstance(dtype, pl.String):
        return value.str.len_bytes()
    if isinstance(dtype, pl.Enum | pl.Categorical):
        return value.cast(pl.String).str.len_bytes()
    if isinstance(dtype, pl.Binary):
        return value.bin.size()
    if children(dtype):
        return json_text(value).str.len_bytes()
    return None


def _value_checks(
    value: pl.Expr, dtype: pl.DataType, target: SqlType
) -> Iterator[tuple[str, pl.Expr]]:
    """Why a value of ``dtype`` might not fit ``target``; nothing where it always does."""
    if target == JSONB:
        for reason, of_leaf in _IN_JSON:
            inside = _anywhere(value, dtype, of_leaf)
            if inside is not None:
                yield reason, inside
    elif target == TEXT:
        has_nul = _has_nul(value, dtype)
        if has_nul is not None:
            yield _NUL, has_nul
    elif target in (TIMESTAMP, TIMESTAMPTZ, DATE):
        if dtype.is_integer():
            yield _YEARS, _outside(value, _DAY["ms"])
        outside = _not_in_years(value, dtype)
        if outside is not None:
            yield _YEARS, outside
    elif target == TIME:
        yield _TOO_FINE, value.to_physical() % 1_000 != 0
    else:
        limits = _limits(target)
        if limits and not _always_within(dtype, limits):
            yield _RANGE, (value <= limits[0]) | (value >= limits[1])


def _anywhere(
    value: pl.Expr, dtype: pl.DataType, of_leaf: Callable[[pl.Expr, pl.DataType], pl.Expr | None]
) -> pl.Expr | None:
    """Whether ``of_leaf`` holds for any value inside a nested one; None if it cannot."""
    if isinstance(dtype, pl.Array):
        value = value.arr.to_list()
    if isinstance(dtype, pl.List | pl.Array):
        inside = _anywhere(pl.element(), children(dtype)[0], of_leaf)
        return None if inside is None else value.list.eval(inside).list.any()
    if isinstance(dtype, pl.Struct):
        fields = [
            _anywhere(value.struct.field(field.name), child, of_leaf)
            for field, child in zip(dtype.fields, children(dtype), strict=True)
        ]
        possible = [field for field in fields if field is not None]
        return pl.any_horizontal(possible) if possible else None
    return of_leaf(value, dtype)


def _has_nul(value: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    if isinstance(dtype, pl.Enum | pl.Categorical):
        value = value.cast(pl.String)
    elif not isinstance(dtype, pl.String):
        return None
    return value.str.contains("\0", literal=True)


def _not_finite(value: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    return ~value.is_finite() if dtype.is_float() else None


def _not_in_years(value: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    if isinstance(dtype, pl.Date):
        return _outside(value.to_physical(), 1)
    if isinstance(dtype, pl.Datetime):
        return _outside(value.to_physical(), _DAY[dtype.time_unit])
    return None


def _outside(value: pl.Expr, day: int) -> pl.Expr:
    return (value < _FIRST_DAY * day) | (value >= _END_DAY * day)


_IN_JSON = ((_NUL, _has_nul), (_NOT_JSON, _not_finite), (_YEARS, _not_in_years))


def _limits(target: SqlType) -> tuple[int, int] | None:
    """The numbers next to what a column takes, below and above; None where it takes any."""
    if target.precision is not None:
        beyond = 10 ** (target.precision - (target.scale or 0))
        return -beyond, beyond
    bits = {SMALLINT: 15, INTEGER: 31, BIGINT: 63}.get(target)
    return None if bits is None else (-(2**bits) - 1, 2**bits)


def _always_within(dtype: pl.DataType, limits: tuple[int, int]) -> bool:
    if isinstance(dtype, pl.Decimal):
        return int("1" + "0" * (dtype.precision - dtype.scale)) <= limits[1]
    if not dtype.is_integer():
        return True
    least, greatest = _INTEGERS[dtype.base_type()]
    return limits[0] < least and greatest < limits[1]


_INTEGERS: dict[object, tuple[int, int]] = {
    kind: (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for kind, bits in (
        (pl.Int8, 8),
        (pl.Int16, 16),
        (pl.Int32, 32),
        (pl.Int64, 64),
        (pl.Int128, 128),
    )
} | {
    kind: (0, 2**bits - 1)
    for kind, bits in ((pl.UInt8, 8), (pl.UInt16, 16), (pl.UInt32, 32), (pl.UInt64, 64))
}
