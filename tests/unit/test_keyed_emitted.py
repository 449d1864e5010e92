"""What handlers may emit: every value is checked where it is emitted."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest

from kappa.errors import InvalidValue
from kappa.processing.keyed.outputs import Output
from kappa.processing.keyed.turn import Turn
from kappa.tables.layout import Column
from kappa.tables.merge import MergeRule
from kappa.tables.sqltypes import sql_type
from kappa.tables.storable import check_storable

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
NOON_MS = 1_704_110_400_000
IN_TOKYO = NOON.astimezone(timezone(timedelta(hours=9)))

TAKEN: list[tuple[pl.DataType, object, object]] = [
    (pl.Boolean(), True, True),
    (pl.Int8(), -128, -128),
    (pl.Int64(), 2**63 - 1, 2**63 - 1),
    (pl.UInt64(), 2**64 - 1, 2**64 - 1),
    (pl.Int128(), -(2**127), -(2**127)),
    (pl.Int32(), np.int64(7), 7),
    (pl.Float64(), 1, 1.0),
    (pl.Float64(), -math.inf, -math.inf),
    (pl.Float32(), 0.5, 0.5),
    (pl.String(), "ä🐍", "ä🐍"),
    (pl.Binary(), b"\0\xff", b"\0\xff"),
    (pl.Date(), date(1, 1, 1), date(1, 1, 1)),
    (pl.Time(), time(23, 59, 59, 999_999), time(23, 59, 59, 999_999)),
    (pl.Datetime("ms", "UTC"), NOON, NOON),
    (pl.Datetime("ms", "UTC"), NOON_MS, NOON),
    (pl.Datetime("us", "UTC"), IN_TOKYO, NOON),
    (pl.Datetime("us", "UTC"), NOON_MS, NOON),
    (
        pl.Datetime("us"),
        datetime(9999, 12, 31, 23, 59, 59, 999_999),
        datetime(9999, 12, 31, 23, 59, 59, 999_999),
    ),
    (pl.Datetime("ms"), NOON_MS, NOON.replace(tzinfo=None)),
    (pl.Decimal(5, 2), Decimal("999.99"), Decimal("999.99")),
    (pl.Decimal(5, 2), Decimal("1.5"), Decimal("1.50")),
    (
        pl.Decimal(38, 10),
        Decimal("1234567890123456789012345678.0123456789"),
        Decimal("1234567890123456789012345678.0123456789"),
    ),
    (pl.Decimal(5, 2), 7, Decimal("7.00")),
    (pl.Enum(["a", "b"]), "b", "b"),
    (pl.List(pl.Int32()), (1, None, 2), [1, None, 2]),
    (pl.List(pl.Datetime("ms", "UTC")), [NOON_MS], [NOON]),
    (
        pl.Struct({"a": pl.Int32(), "b": pl.List(pl.String())}),
        {"b": ["x"]},
        {"a": None, "b": ["x"]},
    ),
]


@pytest.mark.parametrize(("dtype", "value", "stored"), TAKEN)
def test_values_that_fit_arrive(dtype: pl.DataType, value: object, stored: object) -> None:
    rows = emitted(dtype, value, None)
    assert rows.schema["x"] == dtype
    assert rows["x"].to_list() == [stored, None]
    column = Column("x", sql_type(dtype, "x"), MergeRule.FIXED)
    assert check_storable(rows, [column]) == ()


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (pl.Boolean(), 1),
        (pl.Int8(), 128),
        (pl.Int64(), 2**63),
        (pl.UInt32(), -1),
        (pl.Int64(), True),
        (pl.Int64(), 1.0),
        (pl.Float64(), "1"),
        (pl.Float64(), True),
        (pl.Float64(), 10**400),
        (pl.Float32(), 1e39),
        (pl.String(), b"a"),
        (pl.String(), "a\0"),
        (pl.String(), "\ud800"),
        (pl.Binary(), "a"),
        (pl.Date(), NOON),
        (pl.Date(), 1),
        (pl.Time(), time(1, tzinfo=UTC)),
        (pl.Datetime("ms", "UTC"), NOON.replace(tzinfo=None)),
        (pl.Datetime("ms"), NOON),
        (pl.Datetime("ms", "UTC"), NOON.replace(microsecond=1)),
        (pl.Datetime("ms", "UTC"), 253_402_300_800_000),
        (pl.Datetime("us", "UTC"), -62_135_596_800_001),
        (pl.Datetime("ms", "UTC"), 1.0),
        (pl.Datetime("ms", "UTC"), True),
        (pl.Datetime("us", "UTC"), datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
        (pl.Decimal(5, 2), Decimal(1000)),
        (pl.Decimal(5, 2), Decimal("0.001")),
        (pl.Decimal(5, 2), Decimal("NaN")),
        (pl.Decimal(5, 2), Decimal("Infinity")),
        (pl.Decimal(5, 2), Decimal("1E+999999")),
        (pl.Decimal(5, 2), 1.5),
        (pl.Enum(["a"]), "b"),
        (pl.Enum(["a"]), ["a"]),
        (pl.List(pl.Int32()), "12"),
        (pl.List(pl.Int32()), [1, "2"]),
        (pl.List(pl.Float64()), [math.nan]),
        (pl.Struct({"a": pl.Int32()}), {"b": 1}),
        (pl.Struct({"a": pl.Int32()}), {"a": "1"}),
        (pl.Struct({"a": pl.Int32()}), 1),
    ],
)
def test_values_that_do_not_fit_are_refused(dtype: pl.DataType, value: object) -> None:
    with pytest.raises(InvalidValue, match="output, column 'x'"):
        emitted(dtype, value)


def test_a_column_that_is_not_of_the_output_is_refused() -> None:
    output = Output({"x": pl.Int64()}, where="fraud, output")
    with pytest.raises(InvalidValue, match="fraud, output has no column 'y'"):
        output.add({"x": 1, "y": 2}, Turn())
    assert output.collect(0) is None


def test_rows_are_numbered_within_the_record_that_made_them() -> None:
    output, turn = Output({"x": pl.Int64()}, where="p"), Turn()
    for offset, value in ((7, 1), (7, 2), (9, 3)):
        turn.offset = offset
        output.add({"x": value}, turn)
    turn.undo.clear()
    output.add({"x": 4}, turn)
    turn.take_back()
    output.add({"x": 5}, turn)
    rows = output.collect(3)
    assert rows is not None
    assert rows.rows() == [(1, 3, 7, 0), (2, 3, 7, 1), (3, 3, 9, 0), (5, 3, 9, 1)]
    assert rows.schema == output.schema()
    output.add({"x": 6}, turn)  # the same offset of another partition
    again = output.collect(4)
    assert again is not None
    assert again.rows() == [(6, 4, 9, 0)]


def emitted(dtype: pl.DataType, *values: Any) -> pl.DataFrame:
    output = Output({"x": dtype}, where="output")
    for value in values:
        output.add({"x": value}, Turn())
    rows = output.collect(0)
    assert rows is not None
    return rows
