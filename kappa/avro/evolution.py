"""From a writer's columns to a reader's: worked out once per writer, applied to whole columns.

The rules are those of the specification's "Schema Resolution": fields by name or alias,
defaults for missing ones, the promotions int to long to float to double and between string
and bytes, an enum's default for unknown symbols. Columns go in in decoded form and come out in
logical form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kappa.avro.buffers import list_of, struct_of
from kappa.avro.columns import decoded_type, logical_type
from kappa.avro.defaults import decoded_default
from kappa.avro.nodes import Array, Enum, Field, Fixed, Map, Node, Nullable, Primitive, Record
from kappa.avro.uuids import texts_of
from kappa.errors import IncompatibleSchema

Convert = Callable[[pa.Array], pa.Array]

_PROMOTIONS = {
    "int": frozenset({"long", "float", "double"}),
    "long": frozenset({"float", "double"}),
    "float": frozenset({"double"}),
    "string": frozenset({"bytes"}),
    "bytes": frozenset({"string"}),
}


@dataclass(frozen=True)
class Resolution:
    """How values of one node become values of another.

    Attributes:
        decode_as: the node to decode with. It has the writer's encoding, and holds its values
            to what the reader needs: bytes that will be a string must be UTF-8.
        convert: turns the decoded column into the reader's.
    """

    decode_as: Node
    convert: Convert


@dataclass(frozen=True)
class RecordResolution:
    """The same for a record, field by field.

    Attributes:
        fields: per field of the reader, the number of the writer's field that it comes from,
            and how. None is a default, made from any column of the right length.
    """

    decode_as: Record
    fields: tuple[tuple[int | None, Convert], ...]


def resolve_record(writer: Record, reader: Record, path: str = "") -> RecordResolution:
    """How a writer's record becomes a reader's.

    Raises:
        IncompatibleSchema: it cannot; names the field.
    """
    decoded: dict[int, Node] = {}
    plans: list[tuple[int | None, Convert]] = []
    for field in reader.fields:
        inner = f"{path}.{field.name}" if path else field.name
        number = _source(field, writer)
        if number is None:
            plans.append((None, _constant(field, inner)))
            continue
        found = resolve(writer.fields[number].node, field.node, inner)
        if decoded.setdefault(number, found.decode_as) != found.decode_as:
            raise _incompatible(inner, "and another field read the same older field differently")
        plans.append((number, found.convert))
    fields = tuple(
        replace(field, node=decoded.get(number, field.node))
        for number, field in enumerate(writer.fields)
    )
    return RecordResolution(replace(writer, fields=fields), tuple(plans))


def resolve(writer: Node, reader: Node, path: str) -> Resolution:
    """How a writer's values become a reader's.

    Raises:
        IncompatibleSchema: they cannot; names the field.
    """
    match writer, reader:
        case Nullable(written), Nullable(wanted):
            inner = resolve(written, wanted, path)
            return replace(inner, decode_as=replace(writer, node=inner.decode_as))
        case _, Nullable(wanted):
            return resolve(writer, wanted, path)
        case Nullable(), _:
            raise _incompatible(path, "may be null in older values, and may not be now")
        case Primitive(), Primitive():
            return _primitive(writer, reader, path)
        case Fixed(), Fixed() if writer.size == reader.size and _same_name(writer, reader):
            _require_same_meaning(writer, reader, path)
            return Resolution(writer, _fixed(writer))
        case Enum(), Enum() if _same_name(writer, reader):
            return Resolution(writer, _enum(writer, reader, path))
        case Array(written), Array(wanted):
            inner = resolve(written, wanted, f"{path}[]")
            return Resolution(Array(inner.decode_as), _lists(inner.convert, reader))
        case Map(written), Map(wanted):
            inner = resolve(written, wanted, f"{path}{{}}")
            return Resolution(Map(inner.decode_as), _maps(inner.convert, reader))
        case Record(), Record():
            found = resolve_record(writer, reader, path)
            return Resolution(found.decode_as, _members(found, reader))
    raise _incompatible(path, f"was {_kind(writer)} and is {_kind(reader)} now")


def _source(field: Field, writer: Record) -> int | None:
    """The writer's field that a field is read from: by its name, else by an alias."""
    numbers = {candidate.name: number for number, candidate in enumerate(writer.fields)}
    return next((numbers[name] for name in (field.name, *field.aliases) if name in numbers), None)


def _constant(field: Field, path: str) -> Convert:
    if not field.has_default:
        raise _incompatible(path, "is not in the writer's schema and has no default")
    one = pa.array([decoded_default(field, path)], decoded_type(field.node))
    value = resolve(field.node, field.node, path).convert(one)
    return lambda rows: value.take(pa.array(np.zeros(len(rows), dtype=np.int32)))


def _primitive(writer: Primitive, reader: Primitive, path: str) -> Resolution:
    if writer.name != reader.name and reader.name not in _PROMOTIONS.get(writer.name, ()):
        raise _incompatible(path, f"was {_kind(writer)} and is {_kind(reader)} now")
    _require_same_meaning(writer, reader, path)
    if writer.name == reader.name:
        return Resolution(writer, _same)
    if reader.name == "string":
        return Resolution(reader, _same)
    target = logical_type(reader)
    # safe=False: Avro promotes a long to a float though it may not hold every digit.
    return Resolution(writer, lambda column: column.cast(target, safe=False))


def _same(column: pa.Array) -> pa.Array:
    return column


def _fixed(node: Fixed) -> Convert:
    if node.logical is None:
        return lambda column: column.cast(pa.binary())
    return texts_of if node.logical.name == "uuid" else _same


def _enum(writer: Enum, reader: Enum, path: str) -> Convert:
    unknown = [symbol for symbol in writer.symbols if symbol not in reader.symbols]
    if unknown and reader.default is None:
        raise _incompatible(path, f"no longer has the symbol {', '.join(unknown)}, nor a default")
    symbols = pa.array(
        [symbol if symbol in reader.symbols else reader.default for symbol in writer.symbols],
        pa.string(),
    )
    return lambda column: pc.take(symbols, column)


def _lists(items: Convert, reader: Array) -> Convert:
    if items is _same:
        return _same
    type_ = logical_type(reader)
    return lambda column: list_of(type_, column, items(column.values))


def _maps(values: Convert, reader: Map) -> Convert:
    if values is _same:
        return _same
    type_ = logical_type(reader)

    def apply(column: pa.Array) -> pa.Array:
        entries = column.values
        pairs = [entries.field(0), values(entries.field(1))]
        return list_of(type_, column, struct_of(type_.value_type, entries, pairs))

    return apply


def _members(found: RecordResolution, reader: Record) -> Convert:
    type_ = logical_type(reader)

    def apply(column: pa.Array) -> pa.Array:
        members = [
            convert(column if number is None else column.field(number))
            for number, convert in found.fields
        ]
        return struct_of(type_, column, members)

    return apply


def _same_name(writer: Fixed | Enum, reader: Fixed | Enum) -> bool:
    """Named types match by unqualified name, or by one of the reader's aliases."""
    short = {name.rpartition(".")[2] for name in (reader.name, *reader.aliases)}
    return writer.name.rpartition(".")[2] in short


def _require_same_meaning(writer: Primitive | Fixed, reader: Primitive | Fixed, path: str) -> None:
    if writer.logical != reader.logical:
        raise _incompatible(
            path, f"has another logical type: was {_kind(writer)} and is {_kind(reader)} now"
        )


def _incompatible(path: str, why: str) -> IncompatibleSchema:
    where = f"field {path!r}" if path else "the record"
    return IncompatibleSchema(
        f"values of an older schema cannot be read: {where} {why}", field=path or None
    )


def _kind(node: Node) -> str:
    if isinstance(node, Primitive | Fixed) and node.logical is not None:
        logical = node.logical
        if logical.name == "decimal":
            return f"decimal({logical.precision}, {logical.scale})"
        return logical.name
    return node.name if isinstance(node, Primitive) else type(node).__name__.lower()
