"""A worker that stands still though its log goes on: its clients are built anew once, then it ends.

Seconds here are counted by hand.
"""

from __future__ import annotations

from collections.abc import Collection

from kappa.runtime.live.standstill import (
    DATABASE_AFTER_S,
    END_AFTER_S,
    REBUILD_AFTER_S,
    Remedy,
    Standstill,
)


class Worker:
    """It is looked at every second, and gets new clients a second after each rebuild."""

    def __init__(self) -> None:
        self.now = 0
        self.positions = {0: 5}
        self.ends = {0: 10}
        self.clients_since = 0
        self.excused: Collection[int] = ()
        self.in_database = False
        self.remedies: list[tuple[int, int, Remedy]] = []
        """When, for which partition, and what; without the seconds of waiting."""
        self._standstill = Standstill()

    def live(self, seconds: float) -> None:
        """Goes on so long; its log grows every second."""
        for _ in range(int(seconds)):
            self.now += 1
            self.ends = {number: end + 1 for number, end in self.ends.items()}
            stuck = self._standstill.look(
                self.now,
                self.clients_since,
                self.positions,
                self.ends,
                excused=self.excused,
                in_database=self.in_database,
            )
            if stuck is not None and stuck.remedy is not Remedy.WAIT:
                self.remedies.append((self.now, stuck.partition, stuck.remedy))
                self.clients_since = self.now + 1
            if stuck is not None and stuck.remedy is Remedy.END:
                break

    @property
    def what(self) -> list[Remedy]:
        return [remedy for _, _, remedy in self.remedies]


def test_clients_that_do_not_help_are_built_anew_once_and_then_it_ends() -> None:
    worker = Worker()
    worker.live(1000)
    first = 1  # the first look is where the time begins
    assert worker.remedies == [
        (first + REBUILD_AFTER_S + 1, 0, Remedy.REBUILD),
        (first + END_AFTER_S + 1, 0, Remedy.END),
    ]


def test_clients_that_help_are_forgotten_once_the_position_moves() -> None:
    worker = Worker()
    worker.live(20)
    worker.positions = {0: 6}
    worker.live(40)
    assert worker.what == [Remedy.REBUILD, Remedy.REBUILD]
    worker.live(1000)
    assert worker.what == [Remedy.REBUILD, Remedy.REBUILD, Remedy.END]


def test_new_clients_have_their_time_however_long_it_has_stood() -> None:
    worker = Worker()
    worker.live(1)
    worker.now += 500  # the process was paused
    worker.live(1)
    assert worker.what == [Remedy.REBUILD]
    worker.live(REBUILD_AFTER_S)
    assert worker.what == [Remedy.REBUILD]
    worker.live(2)
    assert worker.what == [Remedy.REBUILD, Remedy.END]


def test_clients_of_a_new_tenure_have_their_time_too() -> None:
    worker = Worker()
    worker.live(10)
    worker.clients_since = worker.now
    worker.live(REBUILD_AFTER_S)
    assert worker.remedies == []
    worker.live(1)
    assert worker.what == [Remedy.REBUILD]


def test_a_commit_under_way_has_longer_and_gets_no_new_clients() -> None:
    worker = Worker()
    worker.in_database = True
    worker.live(1000)
    assert worker.remedies == [(1 + DATABASE_AFTER_S + 1, 0, Remedy.END)]


def test_one_that_had_to_wait_for_the_database_starts_with_new_clients() -> None:
    worker = Worker()
    worker.in_database = True
    worker.live(END_AFTER_S + 10)
    worker.in_database = False
    worker.live(REBUILD_AFTER_S)
    assert worker.what == [Remedy.REBUILD]


def test_whoever_has_nothing_to_do_does_not_stand_still() -> None:
    worker = Worker()
    worker.excused = {0}
    worker.live(100)
    worker.excused, worker.positions = (), {0: 1000}
    worker.live(100)
    assert worker.remedies == []


def test_one_partition_that_stands_among_others_that_go_on() -> None:
    worker = Worker()
    worker.positions, worker.ends = {0: 0, 1: 5}, {0: 10, 1: 10}
    while worker.what != [Remedy.REBUILD, Remedy.END]:
        worker.positions = {0: worker.positions[0] + 1, 1: 5}
        worker.live(1)
    assert [number for _, number, _ in worker.remedies] == [1, 1]


def test_partitions_that_stand_still_one_after_the_other_share_new_clients() -> None:
    worker = Worker()
    worker.positions, worker.ends = {0: 5, 1: 5}, {0: 10, 1: 4}
    worker.live(5)
    worker.positions = {0: 5, 1: 0}
    worker.live(1000)
    assert [(number, what) for _, number, what in worker.remedies] == [
        (0, Remedy.REBUILD),
        (0, Remedy.END),
    ]


def test_what_went_to_others_and_comes_back_has_not_stood_still() -> None:
    worker = Worker()
    worker.live(10)
    worker.positions = {}
    worker.live(10)
    worker.positions = {0: 5}
    worker.live(REBUILD_AFTER_S)
    assert worker.remedies == []
