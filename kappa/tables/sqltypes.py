"""Which PostgreSQL type holds a Polars column, without losing anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl
from polars.datatypes import DataTypeClass
from sqlalchemy import types
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from kappa.errors import DeclarationError


@dataclass(frozen=True, slots=True)
class SqlType:
    """A PostgreSQL column type. ``name`` is what ``format_type`` shows: ``numeric(12,2)``."""

    name: str
    precision: int | None = None
    scale: int | None = None

    @property
    def sqlalchemy(self) -> TypeEngine[Any]:
        """The type in SQLAlchemy's terms, for DDL and expressions."""
        if self.name.startswith("numeric"):
            return postgresql.NUMERIC(self.precision, self.scale)
        return _SQLALCHEMY[self.name]


SMALLINT = SqlType("smallint")
INTEGER = SqlType("integer")
BIGINT = SqlType("bigint")
REAL = SqlType("real")
DOUBLE = SqlType("double precision")
NUMERIC = SqlType("numeric")
"""Any precision. Takes integer, Int128 and Decimal columns, and String columns of numerals:
the way to carry ``NaN``, ``Infinity`` and ``-Infinity``."""
BOOLEAN = SqlType("boolean")
TEXT = SqlType("text")
"""In COLLATE "C": its order, MIN and MAX are those of the UTF-8 bytes."""
BYTEA = SqlType("bytea")
DATE = SqlType("date")
TIME = SqlType("time without time zone")
TIMESTAMP = SqlType("timestamp without time zone")
"""Takes Datetime columns, and Int64 columns of milliseconds since 1970."""
TIMESTAMPTZ = SqlType("timestamp with time zone")
"""Takes Datetime columns, and Int64 columns of milliseconds since 1970."""
JSONB = SqlType("jsonb")


def numeric(precision: int, scale: int = 0) -> SqlType:
    """``numeric(precision,scale)``; takes what NUMERIC takes."""
    return SqlType(f"numeric({precision},{scale})", precision, scale)


def sql_type(dtype: pl.DataType, column: str = "") -> SqlType:
    """The PostgreSQL type for a Polars column.

    Raises:
        DeclarationError: none would keep its values exactly; names ``column``.
    """
    if isinstance(dtype, pl.Decimal):
        return numeric(dtype.precision, dtype.scale)
    if isinstance(dtype, pl.Datetime) and dtype.time_unit != "ns":
        return TIMESTAMP if dtype.time_zone is None else TIMESTAMPTZ
    if isinstance(dtype, pl.List | pl.Array | pl.Struct) and _fits_json(dtype):
        return JSONB
    found = _OF_POLARS.get(dtype.base_type())
    if found is None:
        raise DeclarationError(
            f"column {column!r} has type {dtype}, which PostgreSQL cannot hold exactly",
            column=column,
            hint=_hint(dtype),
        )
    return found


def children(dtype: pl.DataType) -> tuple[pl.DataType, ...]:
    """The types directly inside a nested type; none for a plain one."""
    if isinstance(dtype, pl.List | pl.Array):
        return (_instance(dtype.inner),)
    if isinstance(dtype, pl.Struct):
        return tuple(_instance(field.dtype) for field in dtype.fields)
    return ()


def _fits_json(dtype: pl.DataType) -> bool:
    inner = children(dtype)
    if inner:
        return all(_fits_json(child) for child in inner)
    return dtype.base_type() in _IN_JSON


def _instance(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()


def _hint(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.Datetime):
        return "PostgreSQL keeps microseconds: cast it to Datetime('us')"
    if isinstance(dtype, pl.Duration):
        return "store its length as an integer: .dt.total_milliseconds()"
    if children(dtype):
        return "bytes and durations have no JSON form: encode or drop them"
    return "cast it to a type that PostgreSQL has"


_SQLALCHEMY: dict[str, TypeEngine[Any]] = {
    "smallint": types.SMALLINT(),
    "integer": types.INTEGER(),
    "bigint": types.BIGINT(),
    "real": types.REAL(),
    "double precision": types.DOUBLE_PRECISION(),
    "boolean": types.BOOLEAN(),
    "text": types.TEXT(collation="C"),
    "bytea": postgresql.BYTEA(),
    "date": types.DATE(),
    "time without time zone": postgresql.TIME(),
    "timestamp without time zone": postgresql.TIMESTAMP(),
    "timestamp with time zone": postgresql.TIMESTAMP(timezone=True),
    "jsonb": postgresql.JSONB(),
}

_OF_POLARS: dict[object, SqlType] = {
    pl.Int8: SMALLINT,
    pl.Int16: SMALLINT,
    pl.Int32: INTEGER,
    pl.Int64: BIGINT,
    pl.Int128: NUMERIC,
    pl.UInt8: SMALLINT,
    pl.UInt16: INTEGER,
    pl.UInt32: BIGINT,
    pl.UInt64: numeric(20),
    pl.Float32: REAL,
    pl.Float64: DOUBLE,
    pl.Boolean: BOOLEAN,
    pl.String: TEXT,
    pl.Enum: TEXT,
    pl.Categorical: TEXT,
    pl.Binary: BYTEA,
    pl.Date: DATE,
    pl.Time: TIME,
}

_IN_JSON = frozenset(_OF_POLARS) - {pl.Binary} | {pl.Decimal, pl.Datetime}
