"""Reading a datum byte by byte, refusing all that the specification does not allow.

Decoders are lenient where it is cheap to be: they take trailing bytes, a negative union or
enum index, a varint without end. Where one could have been, this decides.
"""

from __future__ import annotations

from kappa.avro.nodes import Array, Enum, Fixed, Map, Node, Nullable, Primitive, Record

_VARINT_BYTES = {"int": 5, "long": 10}


class NotAvro(ValueError):
    """The bytes are no datum of the schema."""


def check(node: Node, data: bytes, start: int = 0) -> None:
    """Passes if ``data[start:]`` is exactly one datum of ``node``.

    Raises:
        NotAvro: it is not; says where and why.
    """
    end = _skip(node, data, start)
    if end != len(data):
        raise NotAvro(f"{len(data) - end} bytes are left after the datum")


def _skip(node: Node, data: bytes, at: int) -> int:
    match node:
        case Primitive(name):
            return _primitive(name, data, at)
        case Fixed(size=size):
            return _forward(data, at, size)
        case Enum(symbols=symbols):
            index, at = _varint(data, at, 5)
            if not 0 <= index < len(symbols):
                raise NotAvro(f"enum index {index} of {len(symbols)} symbols")
            return at
        case Nullable(inner, null_first):
            index, at = _varint(data, at, 10)
            if index not in (0, 1):
                raise NotAvro(f"union index {index} of 2 types")
            return at if index == (0 if null_first else 1) else _skip(inner, data, at)
        case Record(fields=fields):
            for field in fields:
                at = _skip(field.node, data, at)
            return at
        case Array(items):
            return _blocks((items,), data, at)
        case Map(values):
            return _blocks((Primitive("string"), values), data, at)


def _primitive(name: str, data: bytes, at: int) -> int:
    match name:
        case "null":
            return at
        case "boolean":
            end = _forward(data, at, 1)
            if data[at] > 1:
                raise NotAvro(f"boolean byte {data[at]}")
            return end
        case "int" | "long":
            value, at = _varint(data, at, _VARINT_BYTES[name])
            if name == "int" and not -(1 << 31) <= value < 1 << 31:
                raise NotAvro(f"int {value} is out of range")
            return at
        case "float":
            return _forward(data, at, 4)
        case "double":
            return _forward(data, at, 8)
    length, at = _varint(data, at, 10)
    end = _forward(data, at, length)
    if name == "string":
        try:
            data[at:end].decode()
        except UnicodeDecodeError as error:
            raise NotAvro("text that is not UTF-8") from error
    return end


def _blocks(item: tuple[Node, ...], data: bytes, at: int) -> int:
    while True:
        count, at = _varint(data, at, 10)
        if count == 0:
            return at
        if count < 0:
            count = -count
            size, at = _varint(data, at, 10)
            _forward(data, at, size)
        if count > len(data) - at:  # no item is of zero width
            raise NotAvro(f"{count} items in {len(data) - at} bytes")
        for _ in range(count):
            for node in item:
                at = _skip(node, data, at)


def _varint(data: bytes, at: int, longest: int) -> tuple[int, int]:
    value = 0
    for position in range(longest):
        if at + position >= len(data):
            raise NotAvro("the datum ends in the middle of a number")
        byte = data[at + position]
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            if value >> 64:
                raise NotAvro("a number of more than 64 bits")
            return (value >> 1) ^ -(value & 1), at + position + 1
    raise NotAvro(f"a number of more than {longest} bytes")


def _forward(data: bytes, at: int, size: int) -> int:
    if size < 0 or at + size > len(data):
        raise NotAvro(f"{size} bytes wanted, {len(data) - at} are left")
    return at + size
