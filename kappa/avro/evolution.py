"""From a writer's columns to a reader's: worked out once per writer, applied to whole columns.

The rules are those of the specification's "Schema Resolution": fields by name or alias,
defaults for missing ones, the promotions int to long to float to double and between string
and bytes, an enum's default for unknown symbols. Columns go in in physical and come out in
logical form.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kappa.avro.columns import entries, logical_type, physical_type
from kappa.avro.decimals import decimals
from kappa.avro.defaults import physical_default
from kappa.avro.nodes import (
    Array,
    Enum,
    Field,
    Fixed,
    Map,
    Node,
    Nullable,
    Primitive,
    Record,
)
from kappa.errors import IncompatibleSchema

Resolve = Callable[[pa.Array], pa.Array]
"""Turns a writer's column into the reader's; raises OutOfRange for a value that has no place."""

_PROMOTIONS = {
    "int": frozenset({"int", "long", "float", "double"}),
    "long": frozenset({"long", "float", "double"}),
    "float": frozenset({"float", "double"}),
    "string": frozenset({"string", "bytes"}),
    "bytes": frozenset({"bytes", "string"}),
}
_DAY = {"time-millis": 86_400_000, "time-micros": 86_400_000_000}


class OutOfRange(ValueError):
    """A value of the column is none of the reader's type."""


def resolve_field(field: Field, writer: Record, path: str) -> tuple[int | None, Resolve]:
    """Where a reader's field comes from: the writer's column number, None for a default."""
    wanted = (field.name, *field.aliases)
    for number, candidate in enumerate(writer.fields):
        if candidate.name in wanted:
            return number, resolve(candidate.node, field.node, path)
    if not field.has_default:
        raise IncompatibleSchema(
            f"the field {path!r} is not in the writer's schema and has no default",
            hint="give the field a default",
        )
    default = physical_default(field.node, field.default, path)
    value = pa.array([default], physical_type(field.node))
    constant = resolve(field.node, field.node, path)(value)
    return None, lambda rows: constant.take(pa.array(np.zeros(len(rows), dtype=np.int64)))


def resolve(writer: Node, reader: Node, path: str) -> Resolve:
    """How a writer's column becomes a reader's.

    Raises:
        IncompatibleSchema: it cannot; names the field.
    """
    if isinstance(reader, Nullable):
        return resolve(writer.node if isinstance(writer, Nullable) else writer, reader.node, path)
    if isinstance(writer, Nullable):
        raise _incompatible(path, "null was allowed when it was written and is not now")
    match writer, reader:
        case Primitive(), Primitive():
            return _primitive(writer, reader, path)
        case Fixed(), Fixed() if writer.size == reader.size and _same_name(writer, reader):
            return _logical(reader, path) if writer.logical == reader.logical else _differ(path)
        case Enum(), Enum() if _same_name(writer, reader):
            return _enum(writer, reader, path)
        case Array(written), Array(wanted):
            return _lists(resolve(written, wanted, f"{path}[]"))
        case Map(written), Map(wanted):
            return _maps(resolve(written, wanted, f"{path}{{}}"), logical_type(wanted))
        case Record(), Record():
            return _record(writer, reader, path)
    raise _incompatible(path, f"it was {_kind(writer)} and is {_kind(reader)} now")


def _primitive(writer: Primitive, reader: Primitive, path: str) -> Resolve:
    if writer.name != reader.name and reader.name not in _PROMOTIONS.get(writer.name, ()):
        raise _incompatible(path, f"it was {writer.name} and is {reader.name} now")
    if writer.logical != reader.logical:
        return _differ(path)
    if writer.name == reader.name:
        return _logical(reader, path)
    if reader.name == "bytes":
        return _bytes
    if reader.name == "string":
        return _text
    target = physical_type(reader)
    return lambda column: column.cast(target, safe=False)


def _logical(node: Primitive | Fixed, path: str) -> Resolve:
    """The same physical type on both sides: only the meaning is added."""
    if node.logical is None:
        return _bytes if node.name == "bytes" or isinstance(node, Fixed) else _same
    if node.logical.name == "decimal":
        precision, scale = node.logical.precision, node.logical.scale
        return lambda column: _decimal_column(column, precision, scale)
    if node.logical.name == "uuid":
        return _uuid if isinstance(node, Fixed) else _same
    target = logical_type(node)
    day = _DAY.get(node.logical.name)
    if day is not None:
        return lambda column: _time_of_day(column, target, day)
    return lambda column: column.cast(target)


def _same(column: pa.Array) -> pa.Array:
    return column


def _bytes(column: pa.Array) -> pa.Array:
    """Fixed, and bytes that were decoded as text, as the bytes they are."""
    return column.cast(pa.binary())


def _text(column: pa.Array) -> pa.Array:
    try:
        return column.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid as error:
        raise OutOfRange("bytes that are not UTF-8 text") from error


def _uuid(column: pa.Array) -> pa.Array:
    texts = [None if v is None else _dashed(v.hex()) for v in column.to_pylist()]
    return pa.array(texts, pa.string())


def _dashed(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _decimal_column(column: pa.Array, precision: int, scale: int) -> pa.Array:
    try:
        return decimals(column.cast(pa.binary()), precision, scale)
    except ValueError as error:
        raise OutOfRange(str(error)) from error


def _time_of_day(column: pa.Array, target: pa.DataType, day: int) -> pa.Array:
    bounds = pc.min_max(column)
    if bounds["min"].as_py() is not None and not (
        bounds["min"].as_py() >= 0 and bounds["max"].as_py() < day
    ):
        raise OutOfRange("a time of day outside the day")
    return column.cast(target)


def _enum(writer: Enum, reader: Enum, path: str) -> Resolve:
    unknown = set(writer.symbols) - set(reader.symbols)
    if not unknown:
        return _same
    if reader.default is None:
        raise _incompatible(path, f"the symbols {', '.join(sorted(unknown))} are gone")
    known, default = pa.array(reader.symbols, pa.string()), reader.default

    def known_or_default(column: pa.Array) -> pa.Array:
        keep = pc.or_(pc.is_in(column, value_set=known), column.is_null())
        return pc.if_else(keep, column, default)

    return known_or_default


def _lists(items: Resolve) -> Resolve:
    def apply(column: pa.Array) -> pa.Array:
        return _listed(column, items(column.values))

    return apply


def _maps(values: Resolve, value_type: pa.DataType) -> Resolve:
    target = entries(value_type)

    def apply(column: pa.Array) -> pa.Array:
        if pa.types.is_map(column.type):
            keys, items = column.keys, column.items
        else:
            keys, items = column.values.field(0), column.values.field(1)
        pairs = pa.StructArray.from_arrays([keys, values(items)], fields=list(target.value_type))
        return _listed(column, pairs)

    return apply


def _listed(column: pa.Array, items: pa.Array) -> pa.Array:
    mask = column.is_null() if column.null_count else None
    return pa.ListArray.from_arrays(column.offsets, items, mask=mask)


def _record(writer: Record, reader: Record, path: str) -> Resolve:
    plans = [resolve_field(field, writer, f"{path}.{field.name}") for field in reader.fields]
    names = [field.name for field in reader.fields]

    def apply(column: pa.Array) -> pa.Array:
        # A null struct's children are whatever they are; flatten() would null them too.
        members = [
            plan(column if number is None else column.field(number)) for number, plan in plans
        ]
        mask = column.is_null() if column.null_count else None
        return pa.StructArray.from_arrays(members, names=names, mask=mask)

    return apply


def _same_name(writer: Fixed | Enum, reader: Fixed | Enum) -> bool:
    """Named types match by unqualified name, or by one of the reader's aliases."""
    wanted = {reader.name, *reader.aliases}
    short = {name.rpartition(".")[2] for name in wanted}
    return writer.name in wanted or writer.name.rpartition(".")[2] in short


def _differ(path: str) -> Resolve:
    raise _incompatible(path, "its logical type is another one now")


def _incompatible(path: str, why: str) -> IncompatibleSchema:
    return IncompatibleSchema(
        f"records written with an older schema cannot be read: field {path!r}: {why}"
    )


def _kind(node: Node) -> str:
    return node.name if isinstance(node, Primitive) else type(node).__name__.lower()
