"""Columns to values in the wire format, without a Python object per record where possible."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable, Mapping
from datetime import time
from decimal import Decimal
from typing import Any

import fastavro
import polars as pl
import pyruhvro

from kappa.avro.nodes import Array, Enum, Fixed, Logical, Map, Node, Nullable, Primitive, Record
from kappa.avro.physical import physical_document
from kappa.avro.schema import AvroSchema
from kappa.avro.wire import header

_UNIT_NS = {"time-millis": 1_000_000, "time-micros": 1_000}
"""Polars counts the nanoseconds of a day; Avro counts these many of them."""

_Convert = Callable[[Any], Any]


class BatchEncoder:
    """Encodes frames that have the columns of one schema.

    Records of numbers, text, enums, dates, timestamps, arrays and records, each possibly null,
    go through a vectorised encoder; every other schema is written record by record with fastavro.

    Args:
        schema: frames have its fields, with the types of ``polars_schema``.
        schema_id: what the registry calls it.
    """

    def __init__(self, schema: AvroSchema, schema_id: int) -> None:
        fields = schema.record.fields
        document = physical_document(schema.record)
        self._header = header(schema_id)
        self.vectorised = all(_is_vectorised(field.node, top=True) for field in fields)
        if self.vectorised:
            self._text = json.dumps(document)
            self._arrow = pyruhvro.avro_to_arrow_schema(self._text)
        else:
            self._parsed = fastavro.parse_schema(document)
            self._members = _members(schema.record)
        self._columns = [
            _time_of_day(field.name, field.node)
            if self.vectorised and _logical(field.node) in _UNIT_NS
            else pl.col(field.name).cast(_stored(field.node))
            for field in fields
        ]

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """One value per row: the header, then the datum."""
        stored = frame.select(self._columns)
        if not self.vectorised:
            return self._row_by_row(stored)
        table = stored.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(self._arrow)
        header = self._header
        return [
            header + datum
            for batch in table.to_batches()
            for array in pyruhvro.serialize_record_batch(batch, self._text, 1)
            for datum in array.to_pylist()
        ]

    def _row_by_row(self, stored: pl.DataFrame) -> list[bytes]:
        values = []
        for row in stored.iter_rows(named=True):
            out = io.BytesIO()
            out.write(self._header)
            fastavro.schemaless_writer(out, self._parsed, self._members(row), strict=True)
            values.append(out.getvalue())
        return values


def _time_of_day(name: str, node: Node) -> pl.Expr:
    """A column of times in the unit of its type; Polars has nanoseconds."""
    whole = pl.Int32 if _logical(node) == "time-millis" else pl.Int64
    return (pl.col(name).cast(pl.Int64) // _UNIT_NS[_logical(node)]).cast(whole)


def _is_vectorised(node: Node, *, top: bool = False) -> bool:
    match node:
        case Primitive("bytes") | Fixed() | Map():
            return False
        case Primitive():
            return top or _logical(node) not in _UNIT_NS
        case Nullable(inner):
            return _is_vectorised(inner, top=top)
        case Array(items):
            return _is_vectorised(items)
        case Record(fields=fields):
            return all(_is_vectorised(field.node) for field in fields)
    return True


_STORED: Mapping[str, pl.DataType] = {
    "null": pl.Null(),
    "boolean": pl.Boolean(),
    "int": pl.Int32(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "string": pl.String(),
    "bytes": pl.Binary(),
}


def _stored(node: Node) -> pl.DataType:
    """The column type to encode a node from: dates and timestamps are numbers already."""
    match node:
        case Primitive(_, Logical("decimal", precision, scale)):
            return pl.Decimal(precision, scale)
        case Fixed(_, _, _, Logical("decimal", precision, scale)):
            return pl.Decimal(precision, scale)
        case Fixed(_, _, _, logical):
            return pl.Binary() if logical is None else pl.String()
        case Primitive(_, Logical("time-millis" | "time-micros")):
            return pl.Time()
        case Primitive(name):
            return _STORED[name]
        case Enum():
            return pl.String()
        case Nullable(inner):
            return _stored(inner)
        case Array(items):
            return pl.List(_stored(items))
        case Map(values):
            return pl.List(pl.Struct({"key": pl.String(), "value": _stored(values)}))
        case Record(fields=fields):
            return pl.Struct([pl.Field(field.name, _stored(field.node)) for field in fields])


def _members(record: Record) -> _Convert:
    """From a row of Polars to what fastavro stores for the record."""
    converters = [(field.name, _converter(field.node)) for field in record.fields]
    return lambda row: {name: convert(row[name]) for name, convert in converters}


def _converter(node: Node) -> _Convert:
    match node:
        case Nullable(inner):
            convert = _converter(inner)
            return lambda value: None if value is None else convert(value)
        case Array(items):
            convert = _converter(items)
            return lambda values: [convert(value) for value in values]
        case Map(values):
            convert = _converter(values)
            return lambda entries: {e["key"]: convert(e["value"]) for e in entries}
        case Record():
            return _members(node)
        case Primitive(_, Logical("decimal", _, scale)):
            return lambda value: _signed(_unscaled(value, scale))
        case Fixed(_, size, _, Logical("decimal", _, scale)):
            return lambda value: _unscaled(value, scale).to_bytes(size, "big", signed=True)
        case Fixed(_, _, _, Logical("uuid")):
            return lambda value: uuid.UUID(value).bytes
    unit = _UNIT_NS.get(_logical(node))
    return _same if unit is None else lambda value: _nanoseconds(value) // unit


def _same(value: object) -> object:
    return value


def _unscaled(value: Decimal, scale: int) -> int:
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    number = int("".join(map(str, digits))) * 10 ** (exponent + scale)
    return -int(number) if sign else int(number)


def _signed(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 8) // 8, "big", signed=True)


def _nanoseconds(value: time) -> int:
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return seconds * 1_000_000_000 + value.microsecond * 1_000


def _logical(node: Node) -> str:
    match node:
        case Nullable(inner):
            return _logical(inner)
        case Primitive(_, Logical(name)):
            return name
    return ""
