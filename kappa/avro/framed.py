"""A writer's schema as the vectorised decoder is given it: an array of records, each in front
the frame, behind it the record with every type replaced by one that has the same encoding and
keeps every bit.

    frame                a float (the schema id) as a union's first branch: the magic byte is its
                         index
    int, enum            long: an int out of range and a wrong index must show, not wrap
    bytes                string
    fixed                a record of doubles and at most one float
    any logical type     its plain type

The float's four bytes are the big-endian id, its value means nothing. Names, defaults and
aliases are left out, so nothing a schema's author wrote reaches the decoder.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from kappa.avro.nodes import Array, Enum, Fixed, Map, Node, Nullable, Primitive, Record

MAX_FIXED_BYTES = 64
"""A longer fixed would need more columns than it is worth."""

_STAND_INS = {"int": "long", "bytes": "string"}
_Schema = Any


def is_vectorised(node: Node) -> bool:
    """Whether all of a node's types have a stand-in: all but a fixed of odd or great length."""
    match node:
        case Fixed(size=size):
            return size % 4 == 0 and size <= MAX_FIXED_BYTES
        case Array(inner) | Map(inner) | Nullable(inner):
            return is_vectorised(inner)
        case Record(fields=fields):
            return all(is_vectorised(field.node) for field in fields)
    return True


def framed_schema(writer: Record) -> str:
    """The JSON text of the schema to decode ``framed_values`` with."""
    document = _Namer().schema(writer)
    document["fields"].insert(0, {"name": "i", "type": ["float", "null"]})
    values = {"name": "values", "type": {"type": "array", "items": document}}
    return json.dumps({"type": "record", "name": "Values", "fields": [values]})


def framed_values(count: int, values: memoryview) -> bytes:
    """A datum of ``framed_schema``: values that lie one after the other, as one array of them."""
    return b"".join((_varint(count), values, b"\0"))


def id_bits(schema_id: int) -> int:
    """A schema id as the bits of the float that its four bytes are read as."""
    return int(struct.unpack("<I", struct.pack(">I", schema_id))[0])


def _varint(number: int) -> bytes:
    out = bytearray()
    zigzag = number << 1
    while zigzag > 0x7F:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    return bytes([*out, zigzag])


class _Namer:
    """Named types get a name of their own at every place they stand."""

    def __init__(self) -> None:
        self._count = 0

    def schema(self, node: Node) -> _Schema:
        match node:
            case Primitive(name):
                return _STAND_INS.get(name, name)
            case Enum():
                return "long"
            case Fixed(size=size):
                return self._record(["double"] * (size // 8) + ["float"] * (size % 8 // 4))
            case Array(items):
                return {"type": "array", "items": self.schema(items)}
            case Map(values):
                return {"type": "map", "values": self.schema(values)}
            case Nullable(inner, null_first):
                other = self.schema(inner)
                return ["null", other] if null_first else [other, "null"]
            case Record(fields=fields):
                return self._record([self.schema(field.node) for field in fields])

    def _record(self, types: list[_Schema]) -> _Schema:
        self._count += 1
        fields = [{"name": f"f{number}", "type": type_} for number, type_ in enumerate(types)]
        return {"type": "record", "name": f"R{self._count}", "fields": fields}
