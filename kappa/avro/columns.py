"""Which Arrow and Polars types hold the values of a schema.

A decoder gives a writer's columns in *decoded* form; evolution turns them into the reader's,
in *logical* form. They differ where a change of schema is easier before the last step: an
enum is decoded to the index of its symbol, a fixed (and a uuid that is one) to its bytes.
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from kappa.avro.nodes import Array, Enum, Fixed, Map, Node, Nullable, Primitive, Record
from kappa.avro.schema import AvroSchema

_PLAIN = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}

_LOGICAL = {
    "date": pa.date32(),
    "time-millis": pa.time32("ms"),
    "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("ms", "UTC"),
    "timestamp-micros": pa.timestamp("us", "UTC"),
    "timestamp-nanos": pa.timestamp("ns", "UTC"),
    "local-timestamp-millis": pa.timestamp("ms"),
    "local-timestamp-micros": pa.timestamp("us"),
    "local-timestamp-nanos": pa.timestamp("ns"),
    "uuid": pa.string(),
}


def decoded_type(node: Node) -> pa.DataType:
    """The Arrow type of a node's values as a decoder gives them."""
    match node:
        case Enum():
            return pa.int32()
        case Fixed() if node.logical is None or node.logical.name == "uuid":
            return pa.binary(node.size)
        case Array(items):
            return pa.list_(pa.field("item", decoded_type(items)))
        case Map(values):
            return entries(decoded_type(values))
        case Nullable(inner):
            return decoded_type(inner)
        case Record(fields=fields):
            return pa.struct([(field.name, decoded_type(field.node)) for field in fields])
    return logical_type(node)


def logical_type(node: Node) -> pa.DataType:
    """The Arrow type of a node's values as a column shows them."""
    match node:
        case Primitive() | Fixed() if node.logical is not None:
            if node.logical.name == "decimal":
                return pa.decimal128(node.logical.precision, node.logical.scale)
            return _LOGICAL[node.logical.name]
        case Primitive(name):
            return _PLAIN[name]
        case Fixed():
            return pa.binary()
        case Enum():
            return pa.string()
        case Array(items):
            return pa.list_(pa.field("item", logical_type(items)))
        case Map(values):
            return entries(logical_type(values))
        case Nullable(inner):
            return logical_type(inner)
        case Record(fields=fields):
            return pa.struct([(field.name, logical_type(field.node)) for field in fields])


def entries(value: pa.DataType) -> pa.DataType:
    """A map's column: a list of (key, value) in the order they were written."""
    return pa.list_(pa.field("item", pa.struct([("key", pa.string()), ("value", value)])))


def arrow_schema(schema: AvroSchema) -> pa.Schema:
    """A schema's columns as Arrow has them."""
    return pa.schema([(field.name, logical_type(field.node)) for field in schema.record.fields])


def polars_schema(schema: AvroSchema) -> pl.Schema:
    """A schema's columns as Polars has them."""
    frame = pl.from_arrow(arrow_schema(schema).empty_table())
    assert isinstance(frame, pl.DataFrame)
    return frame.schema


def required_columns(schema: AvroSchema) -> frozenset[str]:
    """The columns that are never null."""
    return frozenset(
        field.name
        for field in schema.record.fields
        if not isinstance(field.node, Nullable) and field.node != Primitive("null")
    )
