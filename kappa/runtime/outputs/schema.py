"""The Avro schema of an output's values, worked out from its columns."""

from __future__ import annotations

from typing import Any

from kappa.avro import schema as avro
from kappa.avro.schema import AvroSchema
from kappa.tables.layout import Layout
from kappa.tables.output_columns import MOST_DIGITS, output_columns
from kappa.tables.sqltypes import SqlType

_AVRO: dict[str, Any] = {
    "smallint": "int",
    "integer": "int",
    "bigint": "long",
    "real": "float",
    "double precision": "double",
    "boolean": "boolean",
    "text": "string",
    "bytea": "bytes",
    "date": {"type": "int", "logicalType": "date"},
    "time without time zone": {"type": "long", "logicalType": "time-micros"},
    "timestamp without time zone": {"type": "long", "logicalType": "local-timestamp-micros"},
    "timestamp with time zone": {"type": "long", "logicalType": "timestamp-micros"},
    "jsonb": "string",
}


def value_schema(layout: Layout, output: str) -> AvroSchema:
    """The schema of one output's values.

    Columns that may be NULL have null as their default, so that later versions can add some.
    Whole numbers beyond 64 bits are text, and so is what PostgreSQL keeps as JSON.
    """
    fields: list[dict[str, Any]] = []
    for column in output_columns(layout, output):
        of_values = _type(column.type)
        if column.nullable:
            fields.append({"name": column.name, "type": ["null", of_values], "default": None})
        else:
            fields.append({"name": column.name, "type": of_values})
    return avro.parse({"type": "record", "name": f"{layout.processor}_{output}", "fields": fields})


def _type(sql: SqlType) -> Any:
    if sql.precision is not None:
        if sql.precision > MOST_DIGITS:
            return "string"
        decimal = {"precision": sql.precision, "scale": sql.scale or 0}
        return {"type": "bytes", "logicalType": "decimal", **decimal}
    return _AVRO.get(sql.name, "string")
