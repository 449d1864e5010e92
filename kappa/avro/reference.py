"""The slow decoder: one value after the other, for every shape, by the letter.

It reads what the vectorised decoder has no stand-in for, and decides about every value that one
would not vouch for. A library would be faster here and decide less: fastavro takes a negative
union index from the end of the list, bytes after the datum, and numbers of any length, and
leaves no trace of it in what it returns.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal

import pyarrow as pa

from kappa.avro.columns import decoded_type
from kappa.avro.cursor import Cursor, Undecodable
from kappa.avro.limits import DAY, INT
from kappa.avro.nodes import Array, Enum, Fixed, Logical, Map, Node, Nullable, Primitive, Record
from kappa.avro.sizes import least_bytes, places
from kappa.avro.wire import HEADER_BYTES

_Read = Callable[[Cursor], object]

_FLOAT = struct.Struct("<f")
_DOUBLE = struct.Struct("<d")


class ReferenceDecoder:
    """Decodes values of one writer's schema, and says of each that fails why."""

    def __init__(self, writer: Record) -> None:
        self._fields = [(field.name, reader(field.node)) for field in writer.fields]
        self._types = [decoded_type(field.node) for field in writer.fields]

    def read(self, value: bytes) -> list[object]:
        """One framed value, a Python object per field as ``pa.array`` takes it.

        Raises:
            Undecodable: it is no datum of the schema, or more than one.
        """
        cursor = Cursor(value, HEADER_BYTES)
        row = []
        for name, read in self._fields:
            try:
                row.append(read(cursor))
            except Undecodable as error:
                raise error.inside(name) from None
        cursor.finish()
        return row

    def columns(self, rows: Sequence[list[object]]) -> list[pa.Array]:
        """The writer's columns of these rows, in decoded form."""
        return [
            pa.array([row[number] for row in rows], type_)
            for number, type_ in enumerate(self._types)
        ]


def reader(node: Node) -> _Read:
    """How to read a value of the node."""
    match node:
        case Primitive(name):
            return _primitive(name, node.logical)
        case Fixed():
            return _fixed(node)
        case Enum(symbols=symbols):
            return _indexes(len(symbols))
        case Nullable(inner, null_first):
            return _nullable(reader(inner), 0 if null_first else 1)
        case Record(fields=fields):
            return _record([(field.name, reader(field.node)) for field in fields])
        case Array(items):
            return _array(reader(items), least_bytes(items), places(items))
        case Map(values):
            return _map(reader(values), 1 + least_bytes(values), 1 + places(values))


def _primitive(name: str, logical: Logical | None) -> _Read:
    match name:
        case "null":
            return lambda cursor: None
        case "boolean":
            return _boolean
        case "int":
            return _integers(logical, -INT, INT)
        case "long":
            return Cursor.long if logical is None else _integers(logical, -(1 << 63), 1 << 63)
        case "float":
            return lambda cursor: _FLOAT.unpack(cursor.take(4))[0]
        case "double":
            return lambda cursor: _DOUBLE.unpack(cursor.take(8))[0]
        case "string":
            return Cursor.text if logical is None else _uuid
    return Cursor.bytes if logical is None else _decimals(Cursor.bytes, logical)


def _boolean(cursor: Cursor) -> bool:
    byte = cursor.take(1)[0]
    if byte > 1:
        raise Undecodable("BadBoolean", f"the byte of a boolean is 0 or 1, not {byte}")
    return byte == 1


def _integers(logical: Logical | None, low: int, high: int) -> _Read:
    if logical is not None and logical.name in DAY:
        low, high = 0, DAY[logical.name]

    def read(cursor: Cursor) -> int:
        value = cursor.long()
        if not low <= value < high:
            raise Undecodable("OutOfRange", f"{value} is not from {low} to {high - 1}")
        return value

    return read


def _uuid(cursor: Cursor) -> str:
    text = cursor.text()
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise Undecodable("BadUuid", f"{text[:50]!r} is no uuid") from None


def _fixed(node: Fixed) -> _Read:
    size = node.size

    def read(cursor: Cursor) -> bytes:
        return cursor.take(size)

    if node.logical is not None and node.logical.name == "decimal":
        return _decimals(read, node.logical)
    return read


def _decimals(raw: Callable[[Cursor], bytes], logical: Logical) -> _Read:
    bound, scale = 10**logical.precision, logical.scale

    def read(cursor: Cursor) -> Decimal:
        digits = raw(cursor)
        unscaled = int.from_bytes(digits, "big", signed=True)
        if not digits or not -bound < unscaled < bound:
            raise Undecodable(
                "BadDecimal",
                f"a decimal of {len(digits)} bytes has not from 1 to {logical.precision} digits",
            )
        # Built from its digits: arithmetic would round to the context's precision.
        places = tuple(int(digit) for digit in str(abs(unscaled)))
        return Decimal((unscaled < 0, places, -scale))

    return read


def _indexes(count: int) -> _Read:
    def read(cursor: Cursor) -> int:
        index = cursor.long()
        if not 0 <= index < count:
            raise Undecodable("BadIndex", f"there is no symbol {index}, only {count}")
        return index

    return read


def _nullable(inner: _Read, null: int) -> _Read:
    def read(cursor: Cursor) -> object:
        index = cursor.long()
        if index == null:
            return None
        if index == 1 - null:
            return inner(cursor)
        raise Undecodable("BadIndex", f"there is no branch {index} in a union of two")

    return read


def _record(fields: list[tuple[str, _Read]]) -> _Read:
    def read(cursor: Cursor) -> dict[str, object]:
        values = {}
        for name, member in fields:
            try:
                values[name] = member(cursor)
            except Undecodable as error:
                raise error.inside(name) from None
        return values

    return read


def _array(item: _Read, least: int, places: int) -> _Read:
    def read(cursor: Cursor) -> list[object]:
        items: list[object] = []
        while count := cursor.block(least, places):
            items.extend(item(cursor) for _ in range(count))
        return items

    return read


def _map(value: _Read, least: int, places: int) -> _Read:
    def read(cursor: Cursor) -> list[object]:
        entries: list[object] = []
        while count := cursor.block(least, places):
            entries.extend({"key": cursor.text(), "value": value(cursor)} for _ in range(count))
        return entries

    return read
