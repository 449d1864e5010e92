"""How the buffer is shared out among partitions."""

from __future__ import annotations

import pytest

from kappa.log.fetch import MIN_FETCH_BYTES, FetchPlan

MIB = 1024 * 1024


@pytest.mark.parametrize("buffer", [1 * MIB, 16 * MIB, 64 * MIB, 512 * MIB])
@pytest.mark.parametrize("partitions", [1, 2, 3, 12, 100])
@pytest.mark.parametrize("fetch", [1, 3000, 1 * MIB, 8 * MIB])
def test_all_partitions_together_stay_within_the_buffer(
    buffer: int, partitions: int, fetch: int
) -> None:
    plan = FetchPlan.within(buffer, partitions, fetch)
    assert plan.depth >= 1
    assert 1 <= plan.fetch_bytes <= fetch
    if buffer // partitions >= MIN_FETCH_BYTES:
        assert partitions * plan.depth * plan.fetch_bytes <= buffer


def test_few_partitions_read_ahead_further() -> None:
    assert FetchPlan.within(64 * MIB, 1, 4 * MIB) == FetchPlan(4 * MIB, 8)
    assert FetchPlan.within(64 * MIB, 8, 4 * MIB) == FetchPlan(4 * MIB, 2)
    assert FetchPlan.within(64 * MIB, 32, 4 * MIB) == FetchPlan(2 * MIB, 1)


def test_many_partitions_still_fetch_something_worth_a_request() -> None:
    assert FetchPlan.within(1 * MIB, 1000, 4 * MIB) == FetchPlan(MIN_FETCH_BYTES, 1)
