"""What is read is what is stored: every type, NULL apart from the empty, any text."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from kappa.errors import TableError
from kappa.tables.copy import copy_in
from kappa.tables.layout import Column
from kappa.tables.merge import MergeRule
from kappa.tables.read import read
from kappa.tables.relations import relation
from kappa.tables.sqltypes import NUMERIC, sql_type

Unique = Callable[[str], str]

BACK_IN_TIME = datetime(1969, 12, 31, 23, 59, 59, 999999)
COLUMNS: dict[str, tuple[pl.DataType, list[Any]]] = {
    "flag": (pl.Boolean(), [True, False, None, None]),
    "tiny": (pl.Int8(), [-128, 127, 0, None]),
    "whole": (pl.Int64(), [-(2**63), 2**63 - 1, 0, None]),
    "unsigned": (pl.UInt64(), [0, 2**64 - 1, 1, None]),
    "wide": (pl.Int128(), [-(2**127), 2**127 - 1, 0, None]),
    "single": (pl.Float32(), [1.100000023841858, -0.0, 2.0**-149, None]),
    "double": (pl.Float64(), [0.1, 5e-324, -math.inf, None]),
    "price": (pl.Decimal(12, 2), [Decimal("-0.05"), Decimal("9999999999.99"), Decimal(0), None]),
    "text": (pl.String(), ["", 'a,"b"\n\r\n\\.\\N', "NULL\t😀", None]),
    "bytes": (pl.Binary(), [b"", b"\x00\xff", b"\\x", None]),
    "kind": (pl.Enum(["b", "a"]), ["a", "b", "a", None]),
    "day": (pl.Date(), [date(1, 1, 1), date(9999, 12, 31), date(1970, 1, 1), None]),
    "hour": (pl.Time(), [time(0), time(23, 59, 59, 999999), time(12), None]),
    "local": (pl.Datetime("us"), [BACK_IN_TIME, datetime(1, 1, 1), datetime(9999, 12, 31), None]),
    "moment": (
        pl.Datetime("ms", "UTC"),
        [datetime(1969, 1, 1, 0, 0, 0, 1000, UTC), datetime(9999, 1, 1, tzinfo=UTC), None, None],
    ),
    "list": (pl.List(pl.Int64()), [[1, None], [], [2**63 - 1], None]),
    "pair": (
        pl.Struct({"at": pl.Datetime("ms", "UTC"), "price": pl.Decimal(9, 2), "t": pl.String()}),
        [{"at": datetime(2026, 1, 2, tzinfo=UTC), "price": Decimal("0.10"), "t": 'a"\n'}] * 2
        + [{"at": None, "price": None, "t": None}, None],
    ),
}


def stored(conn: Connection, name: str, frame: pl.DataFrame) -> sa.Table:
    """A table of the frame's columns and rows."""
    columns = [
        Column(column, sql_type(dtype, column), MergeRule.FIXED)
        for column, dtype in frame.schema.items()
    ]
    table = relation(name, columns)
    table.create(conn)
    copy_in(conn, name, columns, frame)
    return table


def test_every_type_comes_back_as_it_was(engine: Engine, unique: Unique) -> None:
    frame = pl.DataFrame([pl.Series(n, v, dtype=t) for n, (t, v) in COLUMNS.items()])
    frame = frame.with_columns(n=pl.int_range(pl.len()))
    with engine.begin() as conn:
        table = stored(conn, unique("types"), frame)
        found = read(conn, sa.select(table).order_by(table.c.n.desc()), frame.schema)
    assert found.schema == frame.schema
    assert found.reverse().rows() == frame.rows()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8")),
            st.none() | st.binary(),
            st.none() | st.floats(),
        ),
        max_size=20,
    )
)
def test_any_text_bytes_and_doubles(
    engine: Engine, unique: Unique, rows: list[tuple[Any, ...]]
) -> None:
    schema = {"n": pl.Int64(), "t": pl.String(), "b": pl.Binary(), "f": pl.Float64()}
    frame = pl.DataFrame(
        [(number, *row) for number, row in enumerate(rows)], schema=schema, orient="row"
    )
    with engine.connect() as conn:  # never committed
        table = stored(conn, unique("any"), frame)
        found = read(conn, sa.select(table).order_by(table.c.n), frame.schema)
        alone = read(conn, sa.select(table.c.t).order_by(table.c.n), pl.Schema({"t": pl.String()}))
    assert found.equals(frame)
    assert alone["t"].to_list() == frame["t"].to_list()


def test_numbers_beyond_any_type_come_as_text(engine: Engine, unique: Unique) -> None:
    values = ["NaN", "Infinity", "-Infinity", str(10**60), None]
    with engine.begin() as conn:
        name = unique("numerals")
        columns = [Column("n", NUMERIC, MergeRule.FIXED)]
        table = relation(name, columns)
        table.create(conn)
        copy_in(conn, name, columns, pl.DataFrame({"n": values}))
        found = read(conn, sa.select(table), pl.Schema({"n": pl.String()}))
        assert found["n"].to_list() == values
        with pytest.raises(TableError, match="does not fit its type"):
            read(conn, sa.select(table), pl.Schema({"n": pl.Int128()}))


def test_a_query_with_parameters_and_percent_signs(engine: Engine, unique: Unique) -> None:
    words = ["50%", "it's", "%(x)s", "\\", "", None]
    frame = pl.DataFrame({"w": words, "n": range(6)})
    at = datetime(2026, 1, 1, tzinfo=UTC)
    frame = frame.with_columns(at=pl.lit(at).dt.offset_by("1h").cast(pl.Datetime("ms", "UTC")))
    with engine.begin() as conn:
        table = stored(conn, unique("words"), frame)
        wanted = sa.select(table.c.w, (table.c.n * 2).label("twice")).where(
            table.c.w.in_(words[:4]), table.c.w.like("%%"), table.c.at > at - timedelta(0)
        )
        schema = pl.Schema({"twice": pl.Int64(), "w": pl.String()})
        found = read(conn, wanted.order_by(table.c.n), schema)
        nothing = read(conn, wanted.where(table.c.n < 0), schema)
    assert found.rows() == [(0, "50%"), (2, "it's"), (4, "%(x)s"), (6, "\\")]
    assert nothing.schema == schema
    assert nothing.is_empty()


def test_a_missing_column_is_named(engine: Engine, unique: Unique) -> None:
    with engine.begin() as conn:
        table = stored(conn, unique("gaps"), pl.DataFrame({"a": [1]}))
        with pytest.raises(TableError, match="no column 'b'"):
            read(conn, sa.select(table), pl.Schema({"a": pl.Int64(), "b": pl.Int64()}))


def test_text_that_looks_like_rows_does_not_break_them(engine: Engine, unique: Unique) -> None:
    """Large enough to be parsed in several pieces."""
    lines = [
        "".join(f'\n{number},"x",\r\n""' for _ in range(number % 40)) for number in range(9000)
    ]
    frame = pl.DataFrame({"n": range(9000), "text": lines, "end": [b"."] * 9000})
    with engine.connect() as conn:
        table = stored(conn, unique("lines"), frame)
        found = read(conn, sa.select(table).order_by(table.c.n), frame.schema)
    assert found.equals(frame)
