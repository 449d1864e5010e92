"""Every type goes into PostgreSQL by COPY and comes out as it was."""

from __future__ import annotations

import datetime as dt
import json
import math
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine
from sqlalchemy.schema import CreateTable, DropTable

from kappa.errors import DataRefused, TableError
from kappa.tables import copy
from kappa.tables.copy import copy_in
from kappa.tables.engine import driver
from kappa.tables.layout import Column
from kappa.tables.merge import MergeRule
from kappa.tables.relations import relation
from kappa.tables.sqltypes import NUMERIC, TIMESTAMPTZ, SqlType, sql_type
from kappa.tables.storable import check_storable

ANYTHING = settings(
    max_examples=25,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking two dozen columns is slow
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
EPOCH = dt.datetime(1970, 1, 1)
TRICKY = [
    "",
    '"',
    '""',
    "\n",
    "\r\n",
    "\r",
    "\\",
    "\\.",
    "\\N",
    "NULL",
    ",",
    " a ",
    "é",
    "😀",
    "\t",
]
STRINGS = st.one_of(
    st.sampled_from(TRICKY),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
)
MICROSECONDS = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
FLOATS = st.floats(width=64) | st.sampled_from([-0.0, 5e-324, 1.7976931348623157e308])
VALUES: dict[str, tuple[pl.DataType, st.SearchStrategy[Any]]] = {
    "i8": (pl.Int8(), st.integers(-(2**7), 2**7 - 1)),
    "i16": (pl.Int16(), st.integers(-(2**15), 2**15 - 1)),
    "i32": (pl.Int32(), st.integers(-(2**31), 2**31 - 1)),
    "i64": (pl.Int64(), st.integers(-(2**63), 2**63 - 1)),
    "i128": (pl.Int128(), st.integers(-(2**127), 2**127 - 1)),
    "u8": (pl.UInt8(), st.integers(0, 2**8 - 1)),
    "u16": (pl.UInt16(), st.integers(0, 2**16 - 1)),
    "u32": (pl.UInt32(), st.integers(0, 2**32 - 1)),
    "u64": (pl.UInt64(), st.integers(0, 2**64 - 1)),
    "f32": (pl.Float32(), st.floats(width=32)),
    "f64": (pl.Float64(), FLOATS),
    "bool": (pl.Boolean(), st.booleans()),
    "text": (pl.String(), STRINGS),
    "word": (pl.Enum(TRICKY), st.sampled_from(TRICKY)),
    "bytes": (pl.Binary(), st.binary(max_size=12)),
    "money": (
        pl.Decimal(38, 9),
        st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: _decimal(n)),
    ),
    "day": (pl.Date(), st.dates()),
    "hour": (pl.Time(), st.times()),
    "at": (pl.Datetime("us", "UTC"), MICROSECONDS.map(lambda n: _aware(n))),
    "local": (pl.Datetime("us"), MICROSECONDS.map(lambda n: EPOCH + dt.timedelta(microseconds=n))),
    "texts": (pl.List(pl.String()), st.lists(st.none() | STRINGS, max_size=3)),
    "thing": (
        pl.Struct({"n": pl.Int64(), "deep": pl.List(pl.Struct({"s": pl.String()}))}),
        st.fixed_dictionaries(
            {
                "n": st.none() | st.integers(-(2**63), 2**63 - 1),
                "deep": st.lists(st.fixed_dictionaries({"s": STRINGS}), max_size=2),
            }
        ),
    ),
}


@pytest.mark.parametrize("large", [copy.LARGE_BYTES, 5])
@ANYTHING
@given(st.data())
def test_every_type_comes_back_as_it_went(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, large: int, data: st.DataObject
) -> None:
    """Also where another value of the row is so large that it goes in piece by piece."""
    monkeypatch.setattr(copy, "LARGE_BYTES", large)
    size = data.draw(st.integers(0, 4))
    drawn = {
        name: data.draw(st.lists(st.none() | values, min_size=size, max_size=size))
        for name, (_, values) in VALUES.items()
    }
    frame = pl.DataFrame(
        [
            pl.Series(name, drawn[name], dtype=dtype, strict=True)
            for name, (dtype, _) in VALUES.items()
        ]
    )
    columns = [
        Column(name, sql_type(dtype), MergeRule.FIXED) for name, (dtype, _) in VALUES.items()
    ]
    assert check_storable(frame, columns) == ()
    for name, found in through_postgres(engine, columns, frame).items():
        single = isinstance(VALUES[name][0], pl.Float32)
        came = [_comparable(value, single) for value in found]
        assert came == [_comparable(value, single) for value in drawn[name]], name


def test_a_column_alone_in_its_row(engine: Engine) -> None:
    values = [None, *TRICKY]
    columns = [Column("c", sql_type(pl.String()), MergeRule.FIXED)]
    found = through_postgres(engine, columns, pl.DataFrame({"c": values}))
    assert found["c"] == values


def test_milliseconds_become_timestamps_over_all_years(engine: Engine) -> None:
    columns = [Column("at", TIMESTAMPTZ, MergeRule.FIXED)]
    frame = pl.DataFrame({"at": [-62_135_596_800_000, 0, 1, 253_402_300_799_999]})
    assert through_postgres(engine, columns, frame)["at"] == [
        dt.datetime(1, 1, 1, tzinfo=dt.UTC),
        dt.datetime(1970, 1, 1, tzinfo=dt.UTC),
        dt.datetime(1970, 1, 1, 0, 0, 0, 1000, tzinfo=dt.UTC),
        dt.datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=dt.UTC),
    ]


def test_another_time_zone_is_the_same_moment(engine: Engine) -> None:
    frame = pl.DataFrame({"at": [dt.datetime(2024, 7, 1, 12)]}).with_columns(
        pl.col("at").dt.replace_time_zone("Europe/Berlin")
    )
    columns = [Column("at", sql_type(frame.schema["at"]), MergeRule.FIXED)]
    moment = dt.datetime(2024, 7, 1, 10, tzinfo=dt.UTC)
    assert through_postgres(engine, columns, frame)["at"] == [moment]


def test_numerals_carry_what_integers_cannot(engine: Engine) -> None:
    columns = [Column("n", NUMERIC, MergeRule.FIXED)]
    frame = pl.DataFrame({"n": ["NaN", "Infinity", "-Infinity", str(2**200), None]})
    found = through_postgres(engine, columns, frame)["n"]
    assert [str(value) for value in found] == ["NaN", "Infinity", "-Infinity", str(2**200), "None"]


def test_text_sorts_by_its_bytes(engine: Engine) -> None:
    columns = [Column("c", sql_type(pl.String()), MergeRule.FIXED)]
    frame = pl.DataFrame({"c": ["b", "a", "B", "é", "Z", "z"]})
    found = through_postgres(engine, columns, frame, order="c")
    assert found["c"] == ["B", "Z", "a", "b", "z", "é"]


@pytest.mark.parametrize(
    ("value", "kind"),
    [("a\0b", "text"), (2**40, "integer"), (Decimal("1000.00"), "numeric(5,2)")],
)
def test_what_was_not_checked_is_refused_by_name(
    engine: Engine, value: object, kind: str, unique: Callable[[str], str]
) -> None:
    precision = (5, 2) if kind.startswith("numeric") else (None, None)
    columns = [Column("c", SqlType(kind, *precision), MergeRule.FIXED)]
    with pytest.raises(DataRefused) as caught:
        through_postgres(engine, columns, pl.DataFrame({"c": [value]}))
    assert caught.value.__cause__ is not None


def test_a_missing_column_is_named(engine: Engine) -> None:
    columns = [Column("here", sql_type(pl.Int64()), MergeRule.FIXED)]
    with pytest.raises(TableError, match="'here'"), engine.begin() as conn:
        copy_in(conn, "anything", columns, pl.DataFrame({"there": [1]}))


def through_postgres(
    engine: Engine, columns: list[Column], frame: pl.DataFrame, order: str = ""
) -> dict[str, list[Any]]:
    """Copies a frame in and reads it back, in the order it went or the given one."""
    table = relation("round_trip", [*columns, _NUMBER])
    numbered = frame.with_row_index("_number").with_columns(pl.col("_number").cast(pl.Int64))
    with engine.connect() as conn:
        conn.execute(CreateTable(table))
        if len(columns) == 1 and not order:
            return {columns[0].name: _alone(conn, columns, frame)}
        copy_in(conn, "round_trip", [*columns, _NUMBER], numbered)
        cursor = driver(conn).execute(f"SELECT * FROM round_trip ORDER BY {order or '_number'}")
        rows = cursor.fetchall()
    return {column.name: [row[place] for row in rows] for place, column in enumerate(columns)}


def _alone(conn: Connection, columns: list[Column], frame: pl.DataFrame) -> list[Any]:
    conn.execute(DropTable(relation("round_trip", columns)))
    conn.execute(CreateTable(relation("round_trip", columns)))
    copy_in(conn, "round_trip", columns, frame)
    cursor = driver(conn).execute("SELECT * FROM round_trip ORDER BY ctid")
    return [row[0] for row in cursor.fetchall()]


_NUMBER = Column("_number", sql_type(pl.Int64()), MergeRule.FIXED)


def _decimal(billionths: int) -> Decimal:
    sign = "-" if billionths < 0 else ""
    whole, part = divmod(abs(billionths), 10**9)
    return Decimal(f"{sign}{whole}.{part:09}")


def _aware(microseconds: int) -> dt.datetime:
    return EPOCH.replace(tzinfo=dt.UTC) + dt.timedelta(microseconds=microseconds)


def _comparable(value: Any, single: bool = False) -> Any:
    """Tells NaN, -0.0 and 1 from 1.0, which == does not. A shortest text of single precision
    names the float nearest to it."""
    if isinstance(value, float):
        value = struct.unpack("f", struct.pack("f", value))[0] if single else value
        return "nan" if math.isnan(value) else ("float", value.hex())
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, Decimal):
        digits = f"{value:f}"
        return digits.rstrip("0").rstrip(".") if "." in digits else digits
    return value
