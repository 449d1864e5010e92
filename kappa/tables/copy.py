"""Polars frames as the text that COPY reads. Whole columns at a time, no value in Python.

But for very large values of bytes, which as a column, in hexadecimal and quoted, would take many
times their size.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_
from typing import Literal, TypeAlias

import polars as pl
from psycopg import sql
from sqlalchemy import Connection

from kappa.errors import TableError
from kappa.failpoints import reach
from kappa.tables.engine import driver, translating
from kappa.tables.layout import Column
from kappa.tables.sqltypes import JSONB, TIMESTAMP, TIMESTAMPTZ, SqlType

_QuoteStyle: TypeAlias = Literal["necessary", "non_numeric"]

_ROWS = 100_000
"""Rows turned into text at a time, which bounds memory."""
LARGE_BYTES = 1 << 20
"""Of a value, beyond which it is turned into text piece by piece."""


def copy_in(conn: Connection, table: str, columns: Sequence[Column], frame: pl.DataFrame) -> None:
    """Appends the frame's rows to ``table`` within the transaction of ``conn``.

    Raises:
        DataRefused: PostgreSQL cannot hold a value.
        TableError: the frame lacks a column.
    """
    _require_columns(table, columns, frame)
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
        sql.Identifier(table), sql.SQL(", ").join(sql.Identifier(c.name) for c in columns)
    )
    with translating(), driver(conn).cursor() as cursor, cursor.copy(statement) as copy:
        for part in frame.iter_slices(_ROWS):
            for text in _texts(part, columns):
                copy.write(text)
            reach("rows_begun")


def _texts(frame: pl.DataFrame, columns: Sequence[Column]) -> Iterator[memoryview | bytes]:
    """The frame's rows as CSV, those with large values last."""
    sizes = [
        pl.col(column.name).bin.size() > LARGE_BYTES
        for column in columns
        if isinstance(frame.schema[column.name], pl.Binary)
    ]
    large = frame.select(reduce(or_, sizes, pl.lit(value=False)).fill_null(value=False)).to_series()
    if not large.any():
        yield csv(frame, columns)
        return
    yield csv(frame.filter(~large), columns)
    for at in large.arg_true():
        row = frame.slice(at, 1)
        for number, column in enumerate(columns):
            yield b"," if number else b""
            yield from _field(row, column)
        yield b"\n"


def _field(row: pl.DataFrame, column: Column) -> Iterator[bytes]:
    """One value of the frame's one row, in pieces."""
    value = row[column.name].item()
    if not isinstance(value, bytes):
        yield bytes(csv(row, [column])[:-1])
        return
    yield b"\\x"
    for start in range(0, len(value), LARGE_BYTES):
        yield value[start : start + LARGE_BYTES].hex().encode()


def csv(frame: pl.DataFrame, columns: Sequence[Column]) -> memoryview:
    """The frame's columns as CSV: NULL is nothing, the empty string is ``""``."""
    buffer = io.BytesIO()
    encoded = frame.select(_encoded(column, frame.schema[column.name]) for column in columns)
    # Alone in its line, an unquoted \. would end the data before PostgreSQL 17.
    style: _QuoteStyle = "necessary" if len(columns) > 1 else "non_numeric"
    encoded.write_csv(buffer, include_header=False, quote_style=style)
    return buffer.getbuffer()


def json_text(expression: pl.Expr) -> pl.Expr:
    """Lists and structs as JSON; NULL where there is none."""
    # Only structs have an encoder: wrap the value in one, then take the wrapping off again.
    wrapped = pl.struct(expression.alias("v")).struct.json_encode()
    inside = wrapped.str.strip_prefix('{"v":').str.strip_suffix("}")
    return pl.when(expression.is_not_null()).then(inside)


def _encoded(column: Column, dtype: pl.DataType) -> pl.Expr:
    return _text(pl.col(column.name), dtype, column.type).alias(column.name)


def _text(value: pl.Expr, dtype: pl.DataType, target: SqlType) -> pl.Expr:
    if target in (TIMESTAMP, TIMESTAMPTZ):
        return _timestamp(value, dtype)
    if isinstance(dtype, pl.Binary):
        return pl.lit("\\x") + value.bin.encode("hex")
    if target == JSONB:
        return json_text(value)
    if isinstance(dtype, pl.Enum | pl.Categorical):
        return value.cast(pl.String)
    return value


def _timestamp(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype.is_integer():
        value = value.cast(pl.Datetime("ms"))
    elif isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        value = value.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    # Zone +00 and no trailing zeros: PostgreSQL reads this form about twice as fast as Polars'.
    return value.dt.to_string("%Y-%m-%d %H:%M:%S%.f+00")


def _require_columns(table: str, columns: Sequence[Column], frame: pl.DataFrame) -> None:
    for column in columns:
        if column.name not in frame.columns:
            raise TableError(f"the frame for {table!r} has no column {column.name!r}")
