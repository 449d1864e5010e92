"""How many records are folded at once: many where that is quick, few where it is not."""

from __future__ import annotations

import pytest

from kappa.runtime.worker.stride import SHORTEST, Stride


def quick() -> Stride:
    stride = Stride()
    stride.took(100, 0.001)
    return stride


def test_the_first_stride_is_short_as_nobody_knows_what_a_record_takes() -> None:
    assert Stride().next(100_000, 1) == 100


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
