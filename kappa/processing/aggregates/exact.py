"""Exact arithmetic on columns: numbers as whole units in 128 bits, their squares in limbs.

A double is a whole number of units of 2**-32, a decimal of units of its last digit, an integer
of ones. A square has up to 190 bits and is kept as three sums::

    units**2  =  high * 2**96  +  middle * 2**49  +  low

which are stored as one number of any length. Only values from 2**48 units up (as doubles,
65,536) have a middle and a high limb.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

FIXED_POINT_BITS = 32
"""Sums of doubles are integers in units of 2**-32 (2.3e-10)."""

UNITS_LIMIT = 1 << 95
"""Values at or beyond this many units are refused; 2**31 of them, and of the limbs of their
squares, fit an Int128."""

_HALF_BITS = 48
_MIDDLE_BITS, _HIGH_BITS = _HALF_BITS + 1, 2 * _HALF_BITS
_SPECIALS = ("NaN", "Infinity", "-Infinity")


class Squares(NamedTuple):
    """The limbs of a square."""

    low: pl.Expr
    middle: pl.Expr
    high: pl.Expr


def units(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """``value`` in units, rounded to the nearest; 0 for null, NaN and the infinities."""
    if not dtype.is_float():
        return _whole(value, dtype).fill_null(0)
    finite = value.is_finite().fill_null(False)
    scaled = pl.when(finite).then(value.cast(pl.Float64)).otherwise(0.0) * 2.0**FIXED_POINT_BITS
    return scaled.round().cast(pl.Int128, strict=False)


def special(value: pl.Expr) -> pl.Expr:
    """NaN and the infinities; 0 for what has units and for null."""
    ordinary = value.is_finite().fill_null(False) | value.is_null()
    return pl.when(ordinary).then(0.0).otherwise(value.cast(pl.Float64))


def too_large(value: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    """Where ``value`` has too many units; None where its type has no such values."""
    if dtype.is_integer() and dtype != pl.Int128:
        return None
    if dtype.is_float():
        condition = value.is_finite() & (value.abs() >= float(UNITS_LIMIT >> FIXED_POINT_BITS))
    else:
        whole = _whole(value, dtype)
        condition = (whole >= UNITS_LIMIT) | (whole <= -UNITS_LIMIT)
    return condition.fill_null(False)


def _whole(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    return (value.to_physical() if dtype.is_decimal() else value).cast(pl.Int128)


def with_specials(whole: pl.Expr, special: pl.Expr) -> pl.Expr:
    """A sum as text: ``special`` is the sum of what has no units, 0 where there was none."""
    return (
        pl.when(special.is_nan())
        .then(pl.lit("NaN"))
        .when(special == float("inf"))
        .then(pl.lit("Infinity"))
        .when(special == float("-inf"))
        .then(pl.lit("-Infinity"))
        .otherwise(whole.cast(pl.String))
    )


def without_specials(stored: pl.Series) -> tuple[pl.Series, pl.Series]:
    """What ``with_specials`` made, or a plain Int128, as units and special; null is 0 and 0."""
    if stored.dtype != pl.String:
        whole = stored.cast(pl.Int128).fill_null(0)
        return whole, pl.zeros(len(stored), pl.Float64, eager=True)
    is_special = stored.is_in(_SPECIALS).fill_null(False)
    nothing = pl.Series([None], dtype=pl.String)
    whole = stored.zip_with(~is_special, nothing).cast(pl.Int128).fill_null(0)
    return whole, stored.zip_with(is_special, nothing).cast(pl.Float64).fill_null(0.0)


def squares(whole: pl.Expr) -> Squares:
    """The squares of whole numbers below UNITS_LIMIT."""
    magnitude = whole.abs()
    above, below = magnitude // (1 << _HALF_BITS), magnitude % (1 << _HALF_BITS)
    return Squares(below * below, above * below, above * above)


def joined(low: pl.Series, middle: pl.Series, high: pl.Series) -> pl.Series:
    """The numbers of these limbs, none negative: Int128, or text if one of them is longer."""
    limbs = pl.DataFrame([low.alias("low"), middle.alias("middle"), high.alias("high")])
    whole = pl.col("low") + _shifted("middle", _MIDDLE_BITS) + _shifted("high", _HIGH_BITS)
    limits = {"low": 125, "middle": 125 - _MIDDLE_BITS, "high": 125 - _HIGH_BITS}
    fits = pl.all_horizontal(
        pl.col(name) < pl.lit(1 << bits, pl.Int128) for name, bits in limits.items()
    )
    result = limbs.select(whole=whole, fits=fits)
    if result["fits"].all():
        return result["whole"]
    at = (~result["fits"]).arg_true()
    texts = [
        str(low + (middle << _MIDDLE_BITS) + (high << _HIGH_BITS))
        for low, middle, high in limbs[at].iter_rows()
    ]
    return result["whole"].cast(pl.String).scatter(at, texts)


def _shifted(limb: str, bits: int) -> pl.Expr:
    return pl.col(limb) * pl.lit(1 << bits, pl.Int128)


def split(number: pl.Series) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Limbs, low to high, of what ``joined`` made; of null all are 0."""
    whole = number.cast(pl.Int128, strict=False)
    radix = pl.lit(1 << _HIGH_BITS, pl.Int128)
    limbs = whole.to_frame("x").select(low=pl.col("x") % radix, high=pl.col("x") // radix)
    low, high = limbs.fill_null(0).get_columns()
    long = (whole.is_null() & number.is_not_null()).arg_true()
    if len(long):
        pairs = [divmod(int(text), 1 << _HIGH_BITS) for text in number[long]]
        high = high.scatter(long, pl.Series([pair[0] for pair in pairs], dtype=pl.Int128))
        low = low.scatter(long, pl.Series([pair[1] for pair in pairs], dtype=pl.Int128))
    return low, pl.zeros(len(number), pl.Int128, eager=True), high
