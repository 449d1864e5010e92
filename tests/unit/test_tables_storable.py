"""What PostgreSQL cannot hold is found before it is sent, row by row, with the reason."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from kappa.tables.layout import Column
from kappa.tables.merge import MergeRule
from kappa.tables.sqltypes import (
    BIGINT,
    DATE,
    INTEGER,
    JSONB,
    SMALLINT,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    SqlType,
    numeric,
)
from kappa.tables.storable import check_storable

FIRST_MS, END_MS = -62_135_596_800_000, 253_402_300_800_000
NAN = float("nan")


def refused(series: pl.Series, kind: SqlType) -> list[int]:
    column = Column("c", kind, MergeRule.FIXED)
    return [found.position for found in check_storable(series.to_frame("c"), [column])]


@pytest.mark.parametrize(
    ("kind", "dtype", "good", "bad"),
    [
        (TEXT, pl.String(), ["", "a", None, "\\0"], ["\0", "a\0b"]),
        (SMALLINT, pl.Int32(), [2**15 - 1, -(2**15), None], [2**15, -(2**15) - 1]),
        (INTEGER, pl.Int64(), [2**31 - 1, -(2**31)], [2**31, -(2**31) - 1]),
        (BIGINT, pl.Int128(), [2**63 - 1, -(2**63)], [2**63, -(2**63) - 1]),
        (BIGINT, pl.UInt64(), [0, 2**63 - 1], [2**63]),
        (numeric(5, 2), pl.Int64(), [999, -999], [1000, -1000]),
        (numeric(5, 2), pl.Decimal(12, 2), [Decimal("999.99")], [Decimal("-1000.00")]),
        (TIMESTAMPTZ, pl.Int64(), [FIRST_MS, END_MS - 1, None], [FIRST_MS - 1, END_MS, 2**63 - 1]),
        (TIMESTAMPTZ, pl.Datetime("ms", "UTC"), [FIRST_MS, END_MS - 1], [FIRST_MS - 1, END_MS]),
        (TIMESTAMP, pl.Datetime("us"), [END_MS * 1000 - 1], [END_MS * 1000, FIRST_MS * 1000 - 1]),
        (DATE, pl.Date(), [-719_162, 2_932_896, None], [-719_163, 2_932_897, 2**31 - 1]),
        (TIME, pl.Time(), [0, 1_000, None], [1, 999]),
    ],
)
def test_limits(kind: SqlType, dtype: pl.DataType, good: list[Any], bad: list[Any]) -> None:
    temporal = dtype.is_temporal()
    plain: pl.DataType = pl.Int32() if isinstance(dtype, pl.Date) else pl.Int64()
    series = pl.Series("c", [*good, *bad], dtype=plain if temporal else dtype)
    assert refused(series.cast(dtype), kind) == list(range(len(good), len(good) + len(bad)))


@pytest.mark.parametrize(
    "value",
    [
        ["a", "\0"],
        [{"deep": ["\0"]}],
        {"f": NAN},
        [[float("inf")]],
        [1.0, None, -float("inf")],
    ],
)
def test_what_json_cannot_say(value: object) -> None:
    good: object = None
    assert refused(pl.Series("c", [good, value]), JSONB) == [1]


def test_a_time_inside_a_list_is_bound_too() -> None:
    days = pl.Series("c", [[0], [2**31 - 1], None], dtype=pl.List(pl.Int32()))
    assert refused(days.cast(pl.List(pl.Date())), JSONB) == [1]


def test_what_only_looks_like_nul_is_fine() -> None:
    assert refused(pl.Series("c", [["\\u0000", "\\\\u0000", '"']]), JSONB) == []


def test_fixed_arrays_are_looked_into() -> None:
    series = pl.Series("c", [["a", "b"], ["a", "\0"]], dtype=pl.Array(pl.String(), 2))
    assert refused(series, JSONB) == [1]


def test_every_reason_names_its_column_and_the_first_counts() -> None:
    columns = [Column("a", TEXT, MergeRule.FIXED), Column("b", INTEGER, MergeRule.FIXED)]
    frame = pl.DataFrame({"b": [2**40, 1, 2**40], "a": ["x", "\0", "\0"]})
    found = check_storable(frame, columns)
    assert [(one.position, one.column) for one in found] == [(0, "b"), (1, "a"), (2, "a")]
    assert "range" in found[0].reason
    assert "NUL" in found[1].reason


def test_null_where_none_may_be() -> None:
    column = Column("c", BIGINT, MergeRule.FIXED, nullable=False)
    found = check_storable(pl.DataFrame({"c": [1, None]}), [column])
    assert [(one.position, one.reason) for one in found] == [(1, "is null")]


def test_a_deletion_needs_its_key_only() -> None:
    columns = [
        Column("k", BIGINT, MergeRule.KEY, nullable=False),
        Column("v", BIGINT, MergeRule.LATEST, nullable=False),
    ]
    frame = pl.DataFrame(
        {"k": [1, 2, None], "v": [None, None, None], "_deleted": [True, False, True]}
    )
    found = check_storable(frame, columns)
    assert [(one.position, one.column) for one in found] == [(1, "v"), (2, "k")]


def test_a_key_must_fit_an_index() -> None:
    """An index entry takes a third of a page; half of the key in each column is too much."""
    key = [Column("a", TEXT, MergeRule.KEY), Column("b", TEXT, MergeRule.KEY)]
    frame = pl.DataFrame({"a": ["x" * 1300, "é" * 800, "x"], "b": ["x" * 1300, "é" * 400, None]})
    assert [found.position for found in check_storable(frame, key)] == [0]
    plain = [Column("a", TEXT, MergeRule.FIXED)]
    assert check_storable(frame, plain) == ()


def test_columns_the_frame_lacks_are_left_out() -> None:
    assert check_storable(pl.DataFrame({"other": [1]}), [Column("c", TEXT, MergeRule.KEY)]) == ()
    assert check_storable(pl.DataFrame({"c": pl.Series([], dtype=pl.String)}), []) == ()


def test_clean_frames_of_fixed_types_cost_no_check() -> None:
    frame = pl.DataFrame({"c": [dt.date(2024, 1, 1)], "n": [1]})
    columns = [Column("c", DATE, MergeRule.FIXED), Column("n", BIGINT, MergeRule.FIXED)]
    assert check_storable(frame, columns) == ()
