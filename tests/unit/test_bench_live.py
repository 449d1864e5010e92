"""What the benches of live work make of what they saw."""

from __future__ import annotations

import numpy as np
import pytest

from bench.resident import Sample, growth
from bench.seen import Seen
from bench.stream import PARTITIONS
from bench.ticks import Sent


def sent(*lanes: list[int]) -> Sent:
    quiet: list[list[int]] = [[] for _ in range(PARTITIONS - len(lanes))]
    return [np.array(lane, dtype=np.int64) for lane in [*lanes, *quiet]]


def seen(*looks: tuple[int, list[int]]) -> Seen:
    found = Seen()
    for at, latest in looks:
        found.add(at, latest + [0] * (PARTITIONS - len(latest)))
    return found


def test_a_tick_is_visible_at_the_first_look_that_shows_it_or_a_later_one() -> None:
    looks = seen((100, [0]), (200, [120]), (300, [120]), (400, [310]))
    assert looks.latencies(sent([90, 120, 121, 310])).tolist() == [110, 80, 279, 90]


def test_lanes_are_seen_on_their_own() -> None:
    looks = seen((100, [50, 0]), (200, [50, 60]))
    assert looks.latencies(sent([50], [60])).tolist() == [50, 140]


def test_a_tick_that_is_never_seen_is_no_latency() -> None:
    with pytest.raises(LookupError):
        seen((100, [50])).latencies(sent([50, 51]))


def samples(*resident: int) -> list[Sample]:
    return [Sample(float(at), held) for at, held in enumerate(resident)]


def test_memory_that_rises_and_then_stays_does_not_grow() -> None:
    assert growth(samples(1, 2, 3, 4, 100, 100, 100, 100)) == pytest.approx(0)


def test_growth_is_of_the_second_half_as_a_share_of_its_mean() -> None:
    assert growth(samples(0, 0, 0, 90, 100, 110)) == pytest.approx(0.2)
