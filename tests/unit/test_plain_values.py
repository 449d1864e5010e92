"""Plain forms: one per value, in the order of the values, and back again."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.processing.aggregates.sketches.plain import halves, plain, plain_type, restored

INT128 = st.integers(-(2**127), 2**127 - 1)
VALUES: list[tuple[pl.DataType, st.SearchStrategy[Any]]] = [
    (pl.Int8(), st.integers(-128, 127)),
    (pl.Int64(), st.integers(-(2**63), 2**63 - 1)),
    (pl.UInt32(), st.integers(0, 2**32 - 1)),
    (pl.UInt64(), st.integers(0, 2**64 - 1)),
    (pl.Int128(), INT128),
    (pl.Float64(), st.floats()),
    (pl.Float32(), st.floats(width=32)),
    (pl.Boolean(), st.booleans()),
    (pl.String(), st.text()),
    (pl.Enum(["b", "a", ""]), st.sampled_from(["b", "a", ""])),
    (pl.Binary(), st.binary()),
    (pl.Decimal(18, 3), st.decimals(-(10**14), 10**14, places=3)),
    (pl.Decimal(38, 10), st.decimals(-(10**27), 10**27, places=10)),
    (pl.Date(), st.dates()),
    (pl.Time(), st.times()),
    (pl.Datetime("us"), st.datetimes()),
    (pl.Datetime("ms", "UTC"), st.datetimes().map(lambda d: d.replace(microsecond=0, tzinfo=UTC))),
    (pl.Duration("us"), st.timedeltas(timedelta(-99999), timedelta(99999))),
]


def order_of(value: Any) -> Any:
    """What values are equal and ordered by: NaN is the greatest, text goes by its bytes."""
    if isinstance(value, float):
        return (math.isnan(value), 0.0 if math.isnan(value) else value)
    return value.encode() if isinstance(value, str) else value


@pytest.mark.parametrize(("dtype", "values"), VALUES, ids=[str(dtype) for dtype, _ in VALUES])
@given(data=st.data())
def test_plain_forms_are_ordered_like_the_values_and_come_back(
    dtype: pl.DataType, values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    drawn = [*data.draw(st.lists(values, max_size=8)), None]
    column = pl.Series("x", drawn, dtype=dtype)
    forms = column.to_frame().select(plain(pl.col("x"), dtype).alias("x"))["x"]
    assert forms.dtype == plain_type(dtype)
    back = forms.to_frame().select(restored(pl.col("x"), dtype).alias("x"))["x"]
    assert back.dtype == dtype
    assert back.null_count() == 1
    by_value = sorted(drawn[:-1], key=order_of)
    by_form = sorted(zip(forms.to_list()[:-1], back.to_list()[:-1], strict=True))
    assert [order_of(value) for _, value in by_form] == [order_of(value) for value in by_value]
    assert len(set(forms.to_list()[:-1])) == len({order_of(value) for value in by_value})


def test_the_forms_are_what_is_written_down() -> None:
    """Partials are stored: forms may never change."""
    frame = pl.DataFrame(
        {
            "float": [1.0, -1.0, -0.0, float("nan"), -math.inf],
            "decimal": [Decimal("1.50"), Decimal("-1.50"), None, None, None],
            "wide": [0, -1, 2**127 - 1, None, None],
            "unsigned": [0, 2**63, 2**64 - 1, None, None],
            "day": [date(1970, 1, 2), None, None, None, None],
            "moment": [datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), None, None, None, None],
            "time": [time(0, 0, 1), None, None, None, None],
            "flag": [True, False, None, None, None],
        },
        schema_overrides={
            "decimal": pl.Decimal(10, 2),
            "wide": pl.Int128(),
            "unsigned": pl.UInt64(),
            "moment": pl.Datetime("ms", "UTC"),
        },
    )
    forms = frame.select(
        plain(pl.col(name), dtype).alias(name) for name, dtype in frame.schema.items()
    )
    one = 0x3FF0000000000000
    assert forms["float"].to_list() == [
        one,
        -(2**63) - (one - 2**63),
        0,
        0x7FF8 << 48,
        -0x7FF0 << 48,
    ]
    assert forms["decimal"].to_list()[:2] == [150, -150]
    assert forms["wide"].to_list()[:3] == [str(2**127), str(2**127 - 1).zfill(39), str(2**128 - 1)]
    assert forms["unsigned"].to_list()[:3] == [-(2**63), 0, 2**63 - 1]
    assert forms["day"][0] == 1
    assert forms["moment"][0] == 1000
    assert forms["time"][0] == 1_000_000_000
    assert forms["flag"].to_list()[:2] == [1, 0]


@pytest.mark.parametrize("dtype", [pl.List(pl.Int64()), pl.Struct({"a": pl.Int64()}), pl.Null()])
def test_nested_values_have_no_plain_form(dtype: pl.DataType) -> None:
    assert plain_type(dtype) is None


@given(st.lists(INT128, max_size=20))
def test_halves_order_like_the_whole(ranks: list[int]) -> None:
    frame = pl.DataFrame({"rank": ranks}, schema={"rank": pl.Int128()})
    high, low = halves(pl.col("rank"))
    pairs = frame.select(high.alias("high"), low.alias("low")).rows()
    assert [rank for _, rank in sorted(zip(pairs, ranks, strict=True))] == sorted(ranks)
    assert len(set(pairs)) == len(set(ranks))
