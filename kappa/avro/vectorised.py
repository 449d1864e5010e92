"""The fast decoder: a list of framed values to Arrow columns, by pyruhvro.

It is given the values with their frame and a schema with two fields in front: the magic byte
reads as an int and the four bytes of the schema id as a float, whose bits are the id. So the
ids are checked as a column, and nothing is sliced off each value. Bytes are decoded as text,
which has the same encoding, and turned back without a copy.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyruhvro
from numpy.typing import NDArray

from kappa.avro.nodes import Array, Fixed, Map, Node, Nullable, Primitive, Record
from kappa.avro.physical import physical_document
from kappa.avro.widths import widths
from kappa.avro.wire import HEADER_BYTES, MAGIC


class Refused(ValueError):
    """Some value of the batch cannot be decoded; which one is not known."""


def is_vectorised(node: Node) -> bool:
    """Whether the fast decoder takes values of this node: everything but fixed."""
    match node:
        case Fixed():
            return False
        case Array(inner) | Map(inner) | Nullable(inner):
            return is_vectorised(inner)
        case Record(fields=fields):
            return all(is_vectorised(field.node) for field in fields)
    return True


class VectorisedDecoder:
    """Decodes values of one writer's schema, all at once or not at all."""

    def __init__(self, writer: Record, schema_id: int) -> None:
        document = physical_document(writer, bytes_as="string")
        names = {field.name for field in writer.fields}
        magic, number = _unused(names, "magic"), _unused(names, "id")
        document["fields"][:0] = [
            {"name": magic, "type": "int"},
            {"name": number, "type": "float"},
        ]
        self._writer = writer
        self._schema = json.dumps(document)
        self._id_bits = struct.unpack("<I", struct.pack(">I", schema_id))[0]

    def decode(self, values: Sequence[bytes]) -> tuple[list[pa.Array], NDArray[np.bool_]]:
        """The writer's columns in physical form, and which values need a closer look.

        A value that needs one was decoded, but is not as long as what was decoded from it.

        Raises:
            Refused: a value is no datum of the schema, or of another schema id.
        """
        try:
            batch = pyruhvro.deserialize_array(values, self._schema)
        except Exception as error:
            raise Refused(str(error)) from error
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            raise Refused(f"the decoder gave up: {error}") from None
        columns = batch.columns
        if (
            np.asarray(columns[0]).any()
            or (np.asarray(columns[1]).view(np.uint32) != self._id_bits).any()
        ):
            raise Refused("not the magic byte and schema id expected")
        total = np.full(len(values), HEADER_BYTES, dtype=np.int64)
        for field, column in zip(self._writer.fields, columns[2:], strict=True):
            _check_text(field.node, column)
            total += widths(field.node, column)
        lengths = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
        return columns[2:], lengths != total


def _check_text(node: Node, column: pa.Array) -> None:
    """The decoder takes any bytes for text; Polars must not see text that is not UTF-8."""
    match node:
        case Primitive("string"):
            try:
                column.validate(full=True)
            except pa.ArrowInvalid as error:
                raise Refused("text that is not UTF-8") from error
        case Nullable(inner):
            _check_text(inner, column)
        case Array(items):
            _check_text(items, column.values)
        case Map(values):
            _check_text(Primitive("string"), column.keys)
            _check_text(values, column.items)
        case Record(fields=fields):
            for number, field in enumerate(fields):
                _check_text(field.node, column.field(number))


def schema_id_of(value: bytes) -> int | None:
    """The schema id in a value's frame, None where there is no frame."""
    if len(value) < HEADER_BYTES or value[0] != MAGIC:
        return None
    return int.from_bytes(value[1:HEADER_BYTES], "big")


def _unused(names: set[str], name: str) -> str:
    while name in names:
        name += "_"
    return name
