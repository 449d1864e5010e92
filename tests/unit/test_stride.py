"""How many records are folded at once: many where that is quick, few where it is not."""

from __future__ import annotations

import pytest

from kappa.runtime.live.standstill import END_AFTER_S
from kappa.runtime.worker.stride import SHORTEST, Stride


def quick() -> Stride:
    stride = Stride()
    stride.took(100, 0.001)
    return stride


def test_the_first_stride_is_short_as_nobody_knows_what_a_record_takes() -> None:
    assert Stride().next(100_000, 1) == 100
    assert Stride(one_by_one=True).next(100_000, 1) == 1


@pytest.mark.parametrize(
    ("left", "partitions", "records"),
    [
        (100_000, 1, 50_000),
        (100_000, 4, 12_500),
        (100_000, 12, SHORTEST),
        (5_000, 12, 5_000),
        (0, 1, 1),
    ],
)
def test_quick_handlers_are_kept_in_step(left: int, partitions: int, records: int) -> None:
    assert quick().next(left, partitions) == records


@pytest.mark.parametrize(("seconds_each", "records"), [(0.001, 2_000), (0.1, 20), (5.0, 1)])
def test_slow_handlers_have_strides_of_two_seconds(seconds_each: float, records: int) -> None:
    stride = Stride()
    stride.took(100, 100 * seconds_each)
    assert stride.next(100_000, 1) == records


def test_a_stretch_without_records_says_nothing() -> None:
    stride = quick()
    stride.took(0, 0.5)
    assert stride.next(100_000, 1) == 50_000


OVERHEAD_S = 0.003
"""Of a stride, whatever is in it."""


def tenure(seconds: list[float], begin: int) -> int:
    """Handles records that take so many ``seconds`` each; returns up to where it has committed.

    The worker ends in a stride that takes too long. Nothing but what has grown is committed.
    """
    stride, at, committed = Stride(one_by_one=True), begin, begin
    while at < len(seconds):
        records = stride.next(len(seconds) - at, 1)
        took = sum(seconds[at : at + records]) + OVERHEAD_S
        if took > END_AFTER_S:
            return committed
        stride.took(records, took)
        at += records
        if stride.has_grown:
            committed = at
    return at


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param([0.5] * 5_000, id="slow"),
        pytest.param([40.0] * 50, id="each nearly too slow"),
        pytest.param([1e-5] * 3_000 + [1.0] * 3_000, id="quick first"),
        pytest.param(([1e-5] * 500 + [2.0] * 200) * 5, id="in turns"),
    ],
)
def test_whoever_is_ended_in_a_stride_that_is_too_long_has_got_on(seconds: list[float]) -> None:
    at, tenures = 0, 0
    while at < len(seconds):
        before, at = at, tenure(seconds, at)
        tenures += 1
        assert at > before
    assert tenures < 50


def test_slow_handlers_from_the_start_end_nobody() -> None:
    assert tenure([0.5] * 5_000, 0) == 5_000


def test_quick_handlers_have_long_strides_soon() -> None:
    stride, longest = Stride(one_by_one=True), 0
    for _ in range(14):
        longest = stride.next(100_000, 12)
        stride.took(longest, longest * 1e-5 + OVERHEAD_S)
    assert longest == SHORTEST
    stride.took(longest, 0.1)
    assert not stride.has_grown
