"""The slow decoder, for every shape: fastavro, a value at a time, after a strict check."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import fastavro
import pyarrow as pa

from kappa.avro.columns import physical_type
from kappa.avro.nodes import Array, Fixed, Map, Node, Nullable, Primitive, Record
from kappa.avro.physical import physical_document
from kappa.avro.strict import NotAvro, check
from kappa.avro.wire import HEADER_BYTES

_Shape = Callable[[Any], Any]


class ReferenceDecoder:
    """Decodes values of one writer's schema; says of each that fails why."""

    def __init__(self, writer: Record) -> None:
        self._writer = writer
        self._parsed = fastavro.parse_schema(physical_document(writer))
        self._types = [physical_type(field.node) for field in writer.fields]
        self._shapes = [(field.name, _shape(field.node)) for field in writer.fields]

    def decode(self, values: Sequence[bytes]) -> tuple[list[pa.Array], dict[int, str]]:
        """The writer's columns of the values that could be decoded, and why others could not.

        Failures are by position; the columns have one row per value without a failure.
        """
        failures: dict[int, str] = {}
        cells: list[list[Any]] = [[] for _ in self._shapes]
        for position, value in enumerate(values):
            try:
                record = self._read(value)
            except NotAvro as error:
                failures[position] = str(error)
                continue
            for (name, shape), column in zip(self._shapes, cells, strict=True):
                column.append(shape(record[name]))
        arrays = [
            pa.array(column, type=type_) for column, type_ in zip(cells, self._types, strict=True)
        ]
        return arrays, failures

    def _read(self, value: bytes) -> dict[str, Any]:
        check(self._writer, value, HEADER_BYTES)
        stream = io.BytesIO(value)
        stream.seek(HEADER_BYTES)
        record = fastavro.schemaless_reader(stream, self._parsed, None)
        assert isinstance(record, dict)
        return record


def _shape(node: Node) -> _Shape:
    """How a value of fastavro's becomes one of Arrow's: maps become lists of entries."""
    match node:
        case Map(values):
            inner = _shape(values)
            return lambda v: [{"key": key, "value": inner(item)} for key, item in v.items()]
        case Array(items):
            inner = _shape(items)
            return lambda v: [inner(item) for item in v]
        case Nullable(inside):
            inner = _shape(inside)
            return lambda v: None if v is None else inner(v)
        case Record(fields=fields):
            shapes = [(field.name, _shape(field.node)) for field in fields]
            return lambda v: {name: shape(v[name]) for name, shape in shapes}
        case Primitive() | Fixed():
            return _same
    return _same


def _same(value: Any) -> Any:
    return value
