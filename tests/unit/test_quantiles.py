"""Quantiles are as near to the exact ones as they promise, and no split changes a bit of them."""

from __future__ import annotations

import math
import struct
import sys
from fractions import Fraction
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.errors import DeclarationError
from kappa.processing.aggregates.sketches.boundaries import SMALLEST, boundaries
from kappa.processing.aggregates.sketches.quantiles import Quantiles
from tests.worker_merged import check_any_split, column_of, cuts, partials, records, result

MOST = 30
FINITE = st.floats(allow_nan=False, allow_infinity=False)
NEAR = st.floats(-1e3, 1e3) | st.sampled_from([0.0, -0.0, 1.0, 100.0, -100.0])


def exact(values: list[float], share: float) -> float:
    """PostgreSQL's percentile_disc: the first value that so many values are not above."""
    ordered = sorted(values)
    place = max(1, math.ceil(Fraction(repr(share)) * len(ordered)))
    return ordered[place - 1] + 0.0


def is_near(found: float, wanted: float, accuracy: float) -> bool:
    if abs(wanted) < SMALLEST:
        return abs(found) < SMALLEST
    error = abs(Fraction(found) - Fraction(wanted))
    return error <= abs(Fraction(wanted)) * Fraction(accuracy) * (1 + Fraction(1, 10**12))


@given(
    values=st.lists(st.none() | FINITE | NEAR, max_size=MOST),
    shares=st.lists(st.floats(0, 1) | st.sampled_from([0, 0.5, 1]), min_size=1, max_size=3),
    accuracy=st.sampled_from([0.001, 0.01, 0.1, 0.25]),
    plan=cuts(MOST),
)
def test_quantiles_are_near_the_exact_ones_however_records_are_split(
    values: list[float | None],
    shares: list[float],
    accuracy: float,
    plan: tuple[list[int], list[int]],
) -> None:
    groups = [str(place % 2) for place in range(len(values))]
    frame = records({"v": values, "k": groups}, {"v": pl.Float64(), "k": pl.String()})
    found = check_any_split(Quantiles("v", at=shares, accuracy=accuracy), frame, plan)
    for group in set(groups):
        mine = [v for v, g in zip(values, groups, strict=True) if g == group and v is not None]
        if not mine:
            assert found[group] is None
            continue
        for share, one in zip(shares, found[group], strict=True):
            assert is_near(one, exact(mine, share), accuracy)
            if abs(exact(mine, share)) >= SMALLEST:
                assert math.copysign(1, one) == math.copysign(1, exact(mine, share))
            if share in (0, 1):
                assert one == exact(mine, share)


@pytest.mark.parametrize("accuracy", [0.001, 0.01, 0.05, 0.25])
def test_boundaries_are_powers_and_their_values_near_all_of_a_bucket(accuracy: float) -> None:
    upper = boundaries(accuracy).upper
    share = Fraction(repr(accuracy))
    gamma = (1 + share) / (1 - share)
    assert upper[0] < SMALLEST
    assert upper[-1] >= sys.float_info.max
    assert np.all(upper[1:] > upper[:-1])
    one = int(np.searchsorted(upper, 1.0))
    assert upper[one] == 1.0
    for power in (-40, -3, -1, 0, 1, 2, 37):
        wanted = gamma**power
        assert abs(Fraction(float(upper[one + power])) - wanted) <= wanted * Fraction(1, 2**51)
    of, normal = boundaries(accuracy), upper[upper >= SMALLEST]
    edges = np.array([x for edge in normal[:-1:97] for x in (edge, math.nextafter(edge, math.inf))])
    codes = of.codes(edges)
    assert np.all(np.diff(codes.reshape(-1, 2)) == 1)  # a boundary belongs to the bucket below it
    assert np.array_equal(of.codes(-edges), -codes)
    for value, code in zip(edges.tolist(), codes.tolist(), strict=True):
        assert is_near(of.value(code), value, accuracy)
        assert is_near(of.value(-code), -value, accuracy)


@pytest.mark.parametrize("value", [5e-324, SMALLEST / 2, -SMALLEST / 2, 0.0, -0.0])
def test_what_is_next_to_nothing_is_zero(value: float) -> None:
    assert boundaries(0.01).codes(np.array([value])).tolist() == [0]
    assert boundaries(0.01).value(0) == 0.0


@pytest.mark.parametrize("value", [sys.float_info.max, -sys.float_info.max, SMALLEST, 1.0, 1e300])
def test_one_value_is_shown_to_the_bit(value: float) -> None:
    frame = records({"v": [value] * 3}, {"v": pl.Float64()})
    assert result(Quantiles("v", at=0.5), frame) == value


def test_many_values_take_few_bytes_and_stay_near() -> None:
    values = np.random.default_rng(5).lognormal(3, 2, 200_000)
    frame = records({"v": values}, {"v": pl.Float64()})
    shares = (0.001, 0.25, 0.5, 0.95, 0.999)
    found = result(Quantiles("v", at=shares), frame)
    for share, one in zip(shares, found, strict=True):
        assert is_near(one, exact(values.tolist(), share), 0.01)
    column = column_of(Quantiles("v"), frame)
    assert len(partials(column, frame)[column.partial][0]) < 3_000


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (pl.Int64(), [3, 1, 2]),
        (pl.Decimal(10, 2), ["3.00", "1.00", "2.00"]),
        (pl.UInt8(), [3, 1, 2]),
    ],
)
def test_any_number_will_do(dtype: pl.DataType, values: list[Any]) -> None:
    frame = pl.DataFrame({"v": values}).select(pl.col("v").cast(dtype))
    frame = records({"v": frame["v"]}, {"v": dtype})
    assert result(Quantiles("v", at=[0, 1]), frame) == [1.0, 3.0]


def test_one_share_is_shown_as_a_number_and_several_as_a_list() -> None:
    one, several = Quantiles("v", at=0.9), Quantiles("v", at=[0.9])
    assert one.merger("p", [pl.Int64()]).result == pl.Float64()
    assert several.merger("p", [pl.Int64()]).result == pl.List(pl.Float64())
    nothing = records({"v": [None]}, {"v": pl.Float64()})
    assert result(one, nothing) is None
    assert result(several, nothing) is None


def test_the_place_is_worked_out_exactly() -> None:
    """0.29 * 100 is 28.999999999999996 in doubles, and the 29th of 100 values is meant."""
    frame = records({"v": range(1, 101)}, {"v": pl.Int64()})
    assert is_near(result(Quantiles("v", at=0.29, accuracy=0.001), frame), 29, 0.001)


def test_where_and_refusals() -> None:
    frame = records({"v": [1.0, math.nan, math.inf, 5.0]}, {"v": pl.Float64()})
    fit = pl.col("v").is_finite()
    assert result(Quantiles("v", at=1, where=fit), frame) == 5.0
    (refusal,) = Quantiles("v").refusals([pl.Float64()])
    assert frame.select(refusal.condition).to_series().to_list() == [False, True, True, False]
    (refusal,) = Quantiles("v", where=fit).refusals([pl.Float64()])
    assert not frame.select(refusal.condition.any()).item()
    assert Quantiles("v").refusals([pl.Int64()]) == []


def test_the_bytes_are_what_is_written_down() -> None:
    """Partials are stored, and compared between machines: these may never change."""
    frame = records({"v": [1.0, 1.5, 1.001, -2.0, 0.0, 1.0]}, {"v": pl.Float64()})
    column = column_of(Quantiles("v"), frame)
    (partial,) = partials(column, frame)[column.partial]
    one = 35_420  # the bucket that ends at 1.0: there are so many below it
    gamma = math.log(1.01 / 0.99)
    codes = [
        -(one + math.ceil(math.log(2) / gamma)),
        0,
        one,
        one + 1,
        one + math.ceil(math.log(1.5) / gamma),
    ]
    steps = [codes[0], *(code - before for before, code in pairwise(codes))]
    assert partial == b"\x05" + msgspec.msgpack.encode((steps, [1, 1, 2, 1, 1], -2.0, 1.5))
    assert partial[-18:] == b"\xcb" + struct.pack(">d", -2.0) + b"\xcb" + struct.pack(">d", 1.5)


@pytest.mark.parametrize(
    ("at", "same"),
    [
        (np.float64(0.9), 0.9),
        (np.float64(0.9).astype(np.float32) * 0, 0),
        (np.array([0.5, 0.99]), [0.5, 0.99]),
        ((np.int64(1), 0.25), (1, 0.25)),
    ],
)
def test_shares_may_be_numbers_of_numpy(at: Any, same: Any) -> None:
    given = Quantiles("v", at=at, accuracy=np.float64(0.02)).merger("q", [pl.Float64()])
    assert given == Quantiles("v", at=same, accuracy=0.02).merger("q", [pl.Float64()])


@pytest.mark.parametrize(
    "at", [[], 1.1, -0.1, [0.5, math.nan], [2], None, "half", [None], "01", ["0.5"]]
)
def test_shares_out_of_range_are_refused(at: Any) -> None:
    with pytest.raises(DeclarationError, match="Quantiles: at is"):
        Quantiles("v", at=at)


@pytest.mark.parametrize("accuracy", [0.0, 0.0009, 0.3, 1, math.nan, None, "fine"])
def test_an_accuracy_out_of_range_is_refused(accuracy: Any) -> None:
    with pytest.raises(DeclarationError, match="Quantiles: accuracy is"):
        Quantiles("v", accuracy=accuracy)


def test_only_numbers_have_quantiles() -> None:
    with pytest.raises(DeclarationError, match="Quantiles 'p99' needs a number, not String"):
        Quantiles("v").merger("p99", [pl.String()])
