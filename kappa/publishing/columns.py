"""One raw column against one field: the whole column at once where that is exact.

Every shortcut here gives what ``conform`` gives value by value, only sooner; a column with a
value that a shortcut does not cover is read value by value.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from kappa.avro.nodes import Array, Enum, Logical, Map, Node, Nullable, Primitive, Record
from kappa.publishing.chunks import Raw
from kappa.publishing.misfit import Fault, Misfit
from kappa.publishing.moments import NANOSECONDS, unit_ns
from kappa.publishing.values import MAX_FLOAT, RANGES, Physical, conform

_PLAIN_TYPES: dict[type, pl.DataType] = {
    bool: pl.Boolean(),
    int: pl.Int64(),
    float: pl.Float64(),
    str: pl.String(),
}
_WHOLE: dict[str, pl.DataType] = {"int": pl.Int32(), "long": pl.Int64()}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIT_NS = {"ms": NANOSECONDS["millis"], "us": NANOSECONDS["micros"], "ns": 1}
_SECOND_NS = 1_000_000_000
_CALENDAR = (-62_135_500_000, 253_402_200_000)
"""Seconds since 1970 that Python's datetime reaches, less a day for any zone."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A column in the schema's type; null at the positions in ``faults``."""

    series: pl.Series
    faults: dict[int, Fault]


def convert(raw: Raw, node: Node, dtype: pl.DataType) -> Converted:
    """The column as ``dtype``, the column type of ``node``."""
    inner = node.node if isinstance(node, Nullable) else node
    typed = raw if isinstance(raw, pl.Series) else _typed(raw, inner)
    if typed is not None and (isinstance(node, Nullable) or not typed.null_count()):
        fast = _fitted(typed, inner)
        if fast is not None:
            return Converted(fast.cast(dtype), {})
    return _one_by_one(raw, node, dtype)


def _typed(values: list[object], node: Node) -> pl.Series | None:
    """The values as a typed column, if they are all of one plain Python type."""
    kinds = set(map(type, values)) - {type(None)}
    if kinds == {int, float} and isinstance(node, Primitive) and node.name in {"float", "double"}:
        kinds = {float}
    if len(kinds) != 1:
        return None
    (kind,) = kinds
    if kind is str and _logical(node).startswith("timestamp-m"):
        return _instants(values, timedelta(microseconds=unit_ns(_logical(node)) // 1000))
    if kind not in _PLAIN_TYPES:
        return None
    try:
        return pl.Series(values, dtype=_PLAIN_TYPES[kind], strict=True)
    except (TypeError, OverflowError):
        return None


def _instants(values: list[object], tick: timedelta) -> pl.Series | None:
    """ISO 8601 texts as physical timestamps, if all have an offset."""
    parse = datetime.fromisoformat
    try:
        return pl.Series(
            [None if text is None else (parse(text) - _EPOCH) // tick for text in values],  # type: ignore[arg-type]
            dtype=pl.Int64,
        )
    except (TypeError, ValueError):
        return None


def _fitted(column: pl.Series, node: Node) -> pl.Series | None:
    """The column in the physical type, if every value of it is known to fit."""
    dtype = column.dtype
    match node:
        case Primitive("int" | "long" as name, logical):
            if logical is not None and dtype.is_temporal():
                return _ticks(column, logical)
            time_of_day = logical is not None and logical.name.startswith("time-")
            if not dtype.is_integer() or time_of_day or not _within(column, *RANGES[name]):
                return None
            return column.cast(_WHOLE[name])
        case Primitive("float" | "double" as name):
            return _floating(column, name) if dtype.is_integer() or dtype.is_float() else None
        case Primitive("boolean"):
            return column if dtype == pl.Boolean else None
        case Primitive("string", None):
            return column.cast(pl.String) if dtype in _TEXT else None
        case Enum(symbols=symbols) if dtype in _TEXT:
            text = column.cast(pl.String)
            return text if text.drop_nulls().is_in(list(symbols)).all() else None
    return None


_TEXT = {pl.String, pl.Categorical, pl.Enum}


def _ticks(column: pl.Series, logical: Logical) -> pl.Series | None:
    """Dates, and datetimes of any unit in the type's, rounded down; without a zone as UTC."""
    dtype = column.dtype
    if logical.name == "date":
        return column.cast(pl.Int32) if dtype == pl.Date else None
    if not isinstance(dtype, pl.Datetime) or "timestamp-" not in logical.name:
        return None
    if logical.name.startswith("local-") and dtype.time_zone is not None:
        return None
    have, want = _UNIT_NS[dtype.time_unit], unit_ns(logical.name)
    physical = column.cast(pl.Int64)
    if have <= want:
        return physical // (want // have)
    factor = have // want
    low, high = RANGES["long"]
    return physical * factor if _within(physical, low // factor + 1, high // factor) else None


def _floating(column: pl.Series, name: str) -> pl.Series | None:
    number = column.cast(pl.Float64)
    if name == "double":
        return number
    fits = _within(number.filter(number.is_finite()), -MAX_FLOAT, MAX_FLOAT)
    return number.cast(pl.Float32) if fits else None


def _within(column: pl.Series, low: float, high: float) -> bool:
    least, most = column.min(), column.max()
    if least is None or most is None:
        return True
    assert isinstance(least, int | float)
    assert isinstance(most, int | float)
    return low <= least and most <= high


def _one_by_one(raw: Raw, node: Node, dtype: pl.DataType) -> Converted:
    faults: dict[int, Fault] = {}
    values: list[object] = []
    for at, value in enumerate(_listed(raw)):
        try:
            values.append(_cell(conform(value, node), node))
        except Misfit as misfit:
            faults[at] = Fault(misfit.reason, misfit.path)
            values.append(None)
    return Converted(pl.Series(values, dtype=dtype, strict=True), faults)


def _listed(raw: Raw) -> list[object]:
    """The values as Python has them; moments that Python's calendar does not reach as text."""
    if not isinstance(raw, pl.Series):
        return raw
    if not isinstance(raw.dtype, pl.Datetime):
        return raw.to_list()
    unit = raw.dtype.time_unit
    second = _SECOND_NS // _UNIT_NS[unit]
    ticks = raw.cast(pl.Int64)
    reached = ticks.is_between(_CALENDAR[0] * second, _CALENDAR[1] * second) | ticks.is_null()
    values: list[object] = raw.set(~reached, None).to_list()
    for at in (~reached).arg_true():
        values[at] = f"{ticks[at]} {unit} since 1970"
    return values


def _cell(value: Physical, node: Node) -> object:
    """A physical value as Polars builds columns from it."""
    if value is None:
        return None
    match node:
        case Nullable(inner):
            return _cell(value, inner)
        case Array(items):
            assert isinstance(value, list)
            return [_cell(item, items) for item in value]
        case Map(inner):
            assert isinstance(value, dict)
            return [{"key": k, "value": _cell(v, inner)} for k, v in value.items()]
        case Record(fields=fields):
            assert isinstance(value, dict)
            return {field.name: _cell(value[field.name], field.node) for field in fields}
    if _logical(node).startswith("time-"):  # Polars counts nanoseconds
        assert isinstance(value, int)
        return value * unit_ns(_logical(node))
    return value


def _logical(node: Node) -> str:
    return node.logical.name if isinstance(node, Primitive) and node.logical else ""
