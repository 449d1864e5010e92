"""The rate a replay is limited to, by a clock that only waiting moves."""

from __future__ import annotations

import pytest

from kappa.runtime.worker.pace import Pace


class Clock:
    """What it is asked to sleep goes by at once."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.waits = 0

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits += 1


def never() -> bool:
    return False


@pytest.fixture
def clock() -> Clock:
    return Clock()


def paced(clock: Clock, rate: float | None) -> Pace:
    return Pace(rate, lambda: clock.now, clock.sleep)


@pytest.mark.parametrize("stretch", [1, 7, 1_000])
def test_no_more_than_the_rate_pass(clock: Clock, stretch: int) -> None:
    pace = paced(clock, 100)
    for _ in range(0, 7_000, stretch):
        pace.spend(stretch, never)
    assert clock.now - 1_000 == pytest.approx(70, rel=0.001)


def test_work_that_takes_time_is_part_of_it(clock: Clock) -> None:
    pace = paced(clock, 100)
    for _ in range(100):
        clock.now += 0.06
        pace.spend(10, never)
    assert clock.now - 1_000 == pytest.approx(10)


def test_who_is_slower_than_the_rate_never_waits(clock: Clock) -> None:
    pace = paced(clock, 100)
    for _ in range(100):
        clock.now += 0.11
        pace.spend(10, never)
    assert clock.waits == 0


def test_of_a_pause_a_quarter_of_a_second_is_saved(clock: Clock) -> None:
    pace = paced(clock, 100)
    clock.now += 3_600
    pace.spend(25, never)
    assert clock.waits == 0
    before = clock.now
    pace.spend(50, never)
    assert clock.now - before == pytest.approx(0.5)


def test_who_is_to_stop_does_not_wait_to_the_end(clock: Clock) -> None:
    pace = paced(clock, 1)
    pace.spend(1_000, lambda: clock.now > 1_005)
    assert clock.now < 1_006


def test_without_a_rate_nobody_waits(clock: Clock) -> None:
    pace = paced(clock, None)
    for _ in range(1_000):
        pace.spend(1_000_000, never)
    assert clock.waits == 0
