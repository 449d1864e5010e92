"""A SELECT as a Polars frame, exactly: COPY, and whole columns at a time from there.

PostgreSQL sends text; times travel as integers, which are quicker to read. In CSV a NULL is
nothing and an empty string ``""``, so the two stay apart.
"""

from __future__ import annotations

import io
from typing import Any

import polars as pl
import sqlalchemy as sa
from psycopg import ClientCursor
from sqlalchemy import Connection

from kappa.errors import TableError
from kappa.tables.engine import driver, translating

_PER_SECOND = {"ms": 1_000, "us": 1_000_000}
_EPOCH = sa.literal_column("DATE '1970-01-01'", sa.Date())


def read(conn: Connection, select: sa.Select[Any], schema: pl.Schema) -> pl.DataFrame:
    """The rows of ``select`` in its order, with the columns and types of ``schema``.

    ``numeric`` comes as Int128, Decimal or String (the one way to have NaN and infinity),
    ``bytea`` as Binary, ``timestamptz`` as Datetime in ms or us, ``jsonb`` as its text or, as a
    nested type, parsed.

    Raises:
        TableError: a column is missing, or a value does not fit its type.
    """
    found = select.selected_columns
    missing = [name for name in schema if name not in found]
    if missing:
        raise TableError(f"there is no column {missing[0]!r} to read", column=missing[0])
    sent = [_sent(found[name], dtype).label(name) for name, dtype in schema.items()]
    # Alone in its line, a NULL would be an empty line.
    copied = select.with_only_columns(
        sa.literal_column("0").label("@"), *sent, maintain_column_froms=True
    )
    text = pl.Schema({"@": pl.String(), **dict.fromkeys(schema, pl.String())})
    buffer = _copied(conn, copied)
    # Read whole, for its chunks: a value may hold line breaks.
    frame = pl.read_csv(buffer, has_header=False, schema=text, raise_if_empty=False)
    try:
        return frame.select(_typed(name, dtype) for name, dtype in schema.items())
    except pl.exceptions.PolarsError as error:
        raise TableError(
            "a stored value does not fit its type", columns=", ".join(schema)
        ) from error


def _copied(conn: Connection, select: sa.Select[Any]) -> io.BytesIO:
    compiled = select.compile(dialect=conn.dialect, compile_kwargs={"render_postcompile": True})
    buffer = io.BytesIO()
    # COPY takes no parameters: this cursor writes them into the statement, quoted.
    with translating(), ClientCursor(driver(conn)) as cursor:
        statement = f"COPY ({compiled}) TO STDOUT (FORMAT csv)"
        with cursor.copy(statement.encode(), compiled.params) as copy:
            for data in copy:
                buffer.write(data)
    buffer.seek(0)
    return buffer


def _sent(column: sa.ColumnElement[Any], dtype: pl.DataType) -> sa.ColumnElement[Any]:
    """The form in which a column is sent."""
    if isinstance(dtype, pl.Datetime) and dtype.time_unit in _PER_SECOND:
        return _moments(column, _PER_SECOND[dtype.time_unit])
    if isinstance(dtype, pl.Time):
        return _moments(column, 1_000_000_000)
    if isinstance(dtype, pl.Date):
        return sa.type_coerce(column, sa.Date()) - _EPOCH
    return column


def _moments(column: sa.ColumnElement[Any], per_second: int) -> sa.ColumnElement[Any]:
    seconds = sa.cast(sa.extract("epoch", column), sa.Numeric())  # it is numeric, and exact
    return sa.cast(seconds * sa.literal_column(str(per_second)), sa.BigInteger())


def _typed(name: str, dtype: pl.DataType) -> pl.Expr:
    """What was sent as a column of its type."""
    text = pl.col(name)
    if isinstance(dtype, pl.String):
        return text
    if isinstance(dtype, pl.Binary):
        return text.str.strip_prefix("\\x").str.decode("hex")
    if isinstance(dtype, pl.Boolean):
        return text == "t"
    if isinstance(dtype, pl.Datetime | pl.Time):
        return text.cast(pl.Int64).cast(dtype)
    if isinstance(dtype, pl.Date):
        return text.cast(pl.Int32).cast(dtype)
    if dtype.is_nested():
        return text.str.json_decode(dtype)
    return text.cast(dtype)
