"""Values that handlers emit, checked one by one against the column they go to."""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from typing import Any, NoReturn

import polars as pl
from polars.datatypes import DataTypeClass

from kappa.errors import DeclarationError, InvalidValue
from kappa.processing.admission import EARLIEST_MS, LATEST_MS

Take = Callable[[Any], Any]
"""Returns a value as it is held, or raises InvalidValue; null is never asked about."""

_EXACT = Context(prec=200)
_LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127
_EPOCH = datetime(1970, 1, 1)
_TICKS_PER_MS = {"ms": 1, "us": 1_000}


def instance(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    """The type with its defaults, where only its class was given."""
    return dtype if isinstance(dtype, pl.DataType) else dtype()


def take(dtype: pl.DataType, *, where: str, nested: bool = False) -> Take:
    """What checks a value for a column of this type. ``where`` names the column in errors.

    Raises:
        DeclarationError: no value can be emitted to such a column.
    """
    if dtype.base_type() in _RANGES:
        return _integer(dtype, where)
    if dtype.is_float():
        return _float(dtype, where, nested=nested)
    match dtype:
        case pl.Boolean():
            return _exactly(bool, where)
        case pl.String():
            return _text(where)
        case pl.Binary():
            return _exactly(bytes, where)
        case pl.Date():
            return _exactly(date, where)
        case pl.Time():
            return _time(where)
        case pl.Datetime() if dtype.time_unit in _TICKS_PER_MS:
            return _moment(dtype, where)
        case pl.Decimal():
            return _decimal(dtype, where)
        case pl.Enum():
            return _category(dtype, where)
        case pl.List():
            return _list(dtype, where)
        case pl.Struct():
            return _struct(dtype, where)
    raise DeclarationError(
        f"{where}: a handler cannot emit values of type {dtype}",
        hint="use another type of column; a Datetime in milliseconds or microseconds",
    )


def held_type(dtype: pl.DataType) -> pl.DataType:
    """The type of the values as they are held: moments are integers."""
    match dtype:
        case pl.Datetime():
            return pl.Int64()
        case pl.List():
            return pl.List(held_type(instance(dtype.inner)))
        case pl.Struct():
            return pl.Struct({f.name: held_type(instance(f.dtype)) for f in dtype.fields})
    return dtype


_RANGES: dict[object, tuple[int, int]] = {
    pl.Int8: (-(1 << 7), (1 << 7) - 1),
    pl.Int16: (-(1 << 15), (1 << 15) - 1),
    pl.Int32: (-(1 << 31), (1 << 31) - 1),
    pl.Int64: (-(1 << 63), (1 << 63) - 1),
    pl.Int128: (-(1 << 127), (1 << 127) - 1),
    pl.UInt8: (0, (1 << 8) - 1),
    pl.UInt16: (0, (1 << 16) - 1),
    pl.UInt32: (0, (1 << 32) - 1),
    pl.UInt64: (0, (1 << 64) - 1),
}


def _refuse(value: Any, where: str, why: str) -> NoReturn:
    raise InvalidValue(f"{where}: {reprlib.repr(value)} {why}")


def _exactly(kind: type, where: str) -> Take:
    def taken(value: Any) -> Any:
        if type(value) is not kind:
            _refuse(value, where, f"is no {kind.__name__}")
        return value

    return taken


def _integer(dtype: pl.DataType, where: str) -> Take:
    least, greatest = _RANGES[dtype.base_type()]

    def taken(value: Any) -> int:
        if isinstance(value, bool):
            _refuse(value, where, "is no integer")
        try:
            number = operator.index(value)
        except TypeError:
            _refuse(value, where, "is no integer")
        if not least <= number <= greatest:
            _refuse(value, where, f"is out of the range of {dtype}")
        return number

    return taken


def _float(dtype: pl.DataType, where: str, *, nested: bool) -> Take:
    narrow = dtype == pl.Float32

    def taken(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, float | int):
            _refuse(value, where, "is no number")
        try:
            number = float(value)
        except OverflowError:
            _refuse(value, where, f"is out of the range of {dtype}")
        if nested and not math.isfinite(number):
            _refuse(value, where, "has no form in JSON")
        if narrow and math.isfinite(number) and abs(number) > _LARGEST_FLOAT32:
            _refuse(value, where, f"is out of the range of {dtype}")
        return number

    return taken


def _text(where: str) -> Take:
    def taken(value: Any) -> str:
        if not isinstance(value, str):
            _refuse(value, where, "is no text")
        if "\0" in value:
            _refuse(value, where, "holds NUL, which text in PostgreSQL cannot")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                _refuse(value, where, "holds half a character")
        return str(value)

    return taken


def _time(where: str) -> Take:
    def taken(value: Any) -> time:
        if not isinstance(value, time) or value.tzinfo is not None:
            _refuse(value, where, "is no time without a zone")
        return value

    return taken


def _moment(dtype: pl.Datetime, where: str) -> Take:
    per_ms = _TICKS_PER_MS[dtype.time_unit]
    tick = timedelta(milliseconds=1) / per_ms
    aware = dtype.time_zone is not None
    wanted = "a datetime with a zone" if aware else "a datetime without a zone"

    def taken(value: Any) -> int:
        if type(value) is int:
            if not EARLIEST_MS <= value <= LATEST_MS:
                _refuse(value, where, "ms is outside the years 1-9999")
            return value * per_ms
        if not isinstance(value, datetime) or (value.utcoffset() is not None) is not aware:
            _refuse(value, where, f"is neither {wanted} nor an integer of milliseconds")
        since = (value - _EPOCH.replace(tzinfo=UTC)) if aware else value - _EPOCH
        ticks, finer = divmod(since, tick)
        if finer:
            _refuse(value, where, f"is finer than {dtype.time_unit}")
        if not EARLIEST_MS <= ticks // per_ms <= LATEST_MS:
            _refuse(value, where, "is outside the years 1-9999")
        return ticks

    return taken


def _decimal(dtype: pl.Decimal, where: str) -> Take:
    scale, beyond = dtype.scale, 10**dtype.precision

    def taken(value: Any) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, Decimal | int):
            _refuse(value, where, "is no Decimal")
        number = Decimal(value)
        if not number.is_finite():
            _refuse(value, where, "is not finite")
        if abs(number) >= beyond or abs(units := _EXACT.scaleb(number, scale)) >= beyond:
            _refuse(value, where, f"is out of the range of {dtype}")
        if units != units.to_integral_value(context=_EXACT):
            _refuse(value, where, f"has more than {scale} decimals")
        return number

    return taken


def _category(dtype: pl.Enum, where: str) -> Take:
    known = frozenset(dtype.categories)

    def taken(value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            _refuse(value, where, "is none of the column's categories")
        return str(value)

    return taken


def _list(dtype: pl.List, where: str) -> Take:
    item = take(instance(dtype.inner), where=where, nested=True)

    def taken(value: Any) -> list[Any]:
        if not isinstance(value, list | tuple):
            _refuse(value, where, "is no list")
        return [None if one is None else item(one) for one in value]

    return taken


def _struct(dtype: pl.Struct, where: str) -> Take:
    fields = {
        field.name: take(instance(field.dtype), where=f"{where}.{field.name}", nested=True)
        for field in dtype.fields
    }

    def taken(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or not value.keys() <= fields.keys():
            _refuse(value, where, f"is no dict of {', '.join(fields)}")
        return {
            name: None if value.get(name) is None else field(value[name])
            for name, field in fields.items()
        }

    return taken
