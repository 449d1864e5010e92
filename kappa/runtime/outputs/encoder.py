"""Rows of an output as the bytes that leave, and the bytes of their keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal

import orjson
import polars as pl

from kappa.avro.columns import polars_schema
from kappa.avro.encode import BatchEncoder
from kappa.runtime.outputs.schema import value_schema
from kappa.tables.copy import json_text
from kappa.tables.layout import Layout
from kappa.tables.output_columns import output_columns
from kappa.tables.publication import Publication, TopicTarget
from kappa.tables.sqltypes import JSONB


class OutputEncoder:
    """Makes values of one output's rows: Avro for a topic, JSON for a webhook.

    Attributes:
        types: the columns that ``encode`` takes, as they are read from PostgreSQL. It takes any
            that can be cast to them.
    """

    def __init__(self, layout: Layout, sent: Publication) -> None:
        schema = value_schema(layout, sent.output)
        self.types = polars_schema(schema)
        self._json = {c.name for c in output_columns(layout, sent.output) if c.type == JSONB}
        self._avro: BatchEncoder | None = None
        if isinstance(sent.target, TopicTarget):
            assert sent.target.schema_id is not None, "the version was created without its schemas"
            self._avro = BatchEncoder(schema, sent.target.schema_id)

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """One value per row of a frame with the output's columns; others are ignored."""
        rows = frame.select(self._column(name, frame.schema[name]) for name in self.types)
        if self._avro is not None:
            return self._avro.encode(rows)
        return [orjson.dumps(row, default=_plain) for row in rows.iter_rows(named=True)]

    def _column(self, name: str, dtype: pl.DataType) -> pl.Expr:
        column = pl.col(name)
        if name in self._json and dtype.is_nested():
            return json_text(column).alias(name)
        return column.cast(self.types[name])


def key_text(key: str) -> bytes:
    """A record key from the JSON object of a row's key columns.

    That of a single column is its text, as in any topic with a record key; of several it is the
    object itself.
    """
    columns = json.loads(key, parse_int=str, parse_float=str)
    if len(columns) == 1:
        (value,) = columns.values()
        if isinstance(value, bool):
            return b"true" if value else b"false"
        if isinstance(value, str):
            return value.encode()
    return key.encode()


def key_texts(frame: pl.DataFrame, names: Sequence[str]) -> list[bytes | None]:
    """Record keys of rows by their key columns, in the form of ``key_text``; none without any."""
    if not names:
        return [None] * len(frame)
    rows = frame.select(names).iter_rows(named=True)
    return [key_text(json.dumps(row, default=_text, ensure_ascii=False)) for row in rows]


def _text(value: object) -> str:
    """A value as PostgreSQL writes it into JSON."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    return str(value)


def _plain(value: object) -> str:
    """A value that JSON has no form for: decimals are exact text, bytes are hexadecimal."""
    if isinstance(value, Decimal):
        return str(value)
    return _text(value)
