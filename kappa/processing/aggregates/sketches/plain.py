"""Values in a plain form that is equal, ordered and written alike on every machine.

=================================  ======================================================
integers, dates, times, booleans   Int64: themselves, days, or the type's own units
unsigned 64-bit integers           Int64, less 2**63
floats                             Int64: the bits of the double; NaN the greatest, 0.0 = -0.0
decimals of up to 18 digits        Int64: units of the last digit
wider integers and decimals        String of 39 digits: the units plus 2**127
text and enums                     String
bytes                              Binary
=================================  ======================================================

The order of plain forms is that of the values; text goes by its UTF-8 bytes.
"""

from __future__ import annotations

import polars as pl

_LEAST = -(1 << 63)
_WIDE_DIGITS = 39
_MIDDLE = 1 << 127


def plain_type(dtype: pl.DataType) -> pl.DataType | None:
    """The type of the plain form of ``dtype``; None where it has none."""
    if dtype.base_type() in (pl.String, pl.Enum, pl.Categorical) or _is_wide(dtype):
        return pl.String()
    if isinstance(dtype, pl.Binary):
        return dtype
    if isinstance(dtype, pl.UInt128):
        return None
    if isinstance(dtype, pl.Boolean) or dtype.is_numeric() or dtype.is_temporal():
        return pl.Int64()
    return None


def plain(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The plain form of a value of ``dtype``, which has one."""
    if _is_wide(dtype):
        whole = _units(value, dtype).reinterpret(dtype=pl.UInt128)
        return (whole + _unsigned(_MIDDLE)).cast(pl.String).str.zfill(_WIDE_DIGITS)
    if dtype.is_float():
        double = value.cast(pl.Float64)
        one_nan = pl.when(double.is_nan()).then(float("nan")).otherwise(double)
        return _mirrored(one_nan.reinterpret(dtype=pl.Int64))
    if isinstance(dtype, pl.Decimal):
        return _units(value, dtype).cast(pl.Int64)
    if isinstance(dtype, pl.UInt64):
        return value.reinterpret(dtype=pl.Int64) ^ pl.lit(_LEAST, pl.Int64)
    if isinstance(dtype, pl.String | pl.Enum | pl.Categorical):
        return value.cast(pl.String)
    if isinstance(dtype, pl.Binary):
        return value
    return value.to_physical().cast(pl.Int64)


def restored(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The value of ``dtype`` that has this plain form."""
    if _is_wide(dtype):
        whole = value.cast(pl.UInt128) - _unsigned(_MIDDLE)
        return _of_units(whole.reinterpret(dtype=pl.Int128), dtype)
    if dtype.is_float():
        return _mirrored(value).reinterpret(dtype=pl.Float64).cast(dtype)
    if isinstance(dtype, pl.Decimal):
        return _of_units(value.cast(pl.Int128), dtype)
    if isinstance(dtype, pl.UInt64):
        return (value ^ pl.lit(_LEAST, pl.Int64)).reinterpret(dtype=pl.UInt64)
    return value.cast(dtype)


def halves(rank: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """An Int128 as two columns of Int64, which order alike."""
    high = (rank // (1 << 64)).cast(pl.Int64)
    low = (rank & pl.lit((1 << 64) - 1, pl.Int128)).cast(pl.UInt64)
    return high, plain(low, pl.UInt64())


def _is_wide(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.Decimal):
        return dtype.precision > 18
    return isinstance(dtype, pl.Int128)


def _mirrored(bits: pl.Expr) -> pl.Expr:
    """The bits of doubles in the order of the doubles, alike for both zeros; its own inverse."""
    return pl.when(bits < 0).then(pl.lit(_LEAST, pl.Int64) - bits).otherwise(bits)


def _units(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    return value.reinterpret(dtype=pl.Int128) if dtype.is_decimal() else value


def _of_units(units: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    return units.reinterpret(dtype=dtype) if dtype.is_decimal() else units


def _unsigned(number: int) -> pl.Expr:
    return pl.lit(number, pl.UInt128)
