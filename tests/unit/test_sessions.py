"""Sessions on drawn timelines."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kappa.errors import DeclarationError
from kappa.eventtime.sessions import Session
from tests.unit.session_reference import Event, Opened, Rules, assigned, lateness, members


def sessions(rules: Rules, opened: list[Opened], events: list[Event]) -> list[list[str]]:
    """Sessions by their members: ``s0`` for the first open one, ``0`` for the first record."""
    named = [
        [name.replace("event ", "").replace("open ", "s") for name in sorted(each)]
        for each in members(assigned(rules, opened, events))
    ]
    return sorted(named)


def test_a_session_lasts_while_records_are_less_than_a_gap_apart() -> None:
    #   gap 10      0    5    10   15   20   25   30   35
    #   events      0         1         |2
    #               |---------|         |---------)
    #               [-------------------)          10 and 20 are a whole gap apart
    #   watermark   far behind
    events = [Event(7, 0, -99), Event(7, 10 - 1, -99), Event(7, 19, -99)]
    assert sessions(Rules(10, 0), [], events) == [["0", "1"], ["2"]]


def test_keys_have_sessions_of_their_own() -> None:
    events = [Event(1, 0, -99), Event(2, 1, -99), Event(1, 2, -99)]
    assert sessions(Rules(10, 0), [], events) == [["0", "2"], ["1"]]


def test_a_record_between_two_open_sessions_makes_them_one() -> None:
    #   gap 10      0         10        20
    #   open        s0                s1
    #   record                0
    opened = [Opened(1, 0, 0), Opened(1, 18, 18)]
    assert sessions(Rules(10, 0), opened, [Event(1, 9, 5)]) == [["0", "s0", "s1"]]


def test_a_closed_session_is_joined_no_more() -> None:
    #   gap 10, lateness 5     0        9 10        20
    #   open                   s0                        closes at watermark 15
    #   record                          0
    #   watermark 14           joins s0
    #   watermark 15           begins a session of its own, which closes at 24
    rules, opened = Rules(10, 5), [Opened(1, 0, 0)]
    assert sessions(rules, opened, [Event(1, 9, 14)]) == [["0", "s0"]]
    assert sessions(rules, opened, [Event(1, 9, 15)]) == [["0"], ["s0"]]


def test_a_record_whose_session_would_be_closed_is_late() -> None:
    #   gap 10, lateness 5     record at 0: closes at watermark 15
    #   watermark              14 | 15 | 22
    rules = Rules(10, 5)
    assert lateness(assigned(rules, [], [Event(1, 0, 14)])) == {}
    assert lateness(assigned(rules, [], [Event(1, 0, 15)])) == {0: 0}
    assert lateness(assigned(rules, [], [Event(1, 0, 22)])) == {0: 7}


def test_a_late_record_leaves_nothing_behind() -> None:
    #   gap 10         0    5    10        watermark 10 at the first record, then as it was
    #   records        0    1              0 is late, and no bridge for 1
    late = assigned(Rules(10, 0), [], [Event(1, 0, 10), Event(1, 5, 10)])
    assert lateness(late) == {0: 0}
    assert members(late) == {frozenset({"event 1"})}


def test_an_overdue_record_counts_where_its_session_is_open() -> None:
    #   gap 10         0         10        20        30
    #   open           s0------------------|           closes at 30
    #   record              0  (watermark 29)          alone it would be late: 5 + 10 <= 29
    opened = [Opened(1, 0, 20)]
    assert sessions(Rules(10, 0), opened, [Event(1, 5, 29)]) == [["0", "s0"]]
    assert lateness(assigned(Rules(10, 0), opened, [Event(1, 5, 30)])) == {0: 15}


def test_a_watermark_that_jumps_closes_what_was_open() -> None:
    #   gap 10        0     5                           500
    #   records       0     |                            1
    #                       2 (after 1: watermark 500)   late
    events = [Event(1, 0, 0), Event(1, 500, 500), Event(1, 5, 500)]
    assert sessions(Rules(10, 0), [], events) == [["0"], ["1"]]
    assert lateness(assigned(Rules(10, 0), [], events)) == {2: 485}


def test_a_session_grows_no_longer_than_it_may() -> None:
    #   gap 10, max_length 15     0    5    10   15   20   25
    #   records                   0    1       2 |    3
    #                             |------------|      |        14 from first to last
    #   record 4                             12              in reach of both: 12 joins the first
    rules = Rules(10, 0, 15)
    events = [Event(1, t, -99) for t in (0, 6, 14, 20, 12)]
    assert sessions(rules, [], events) == [["0", "1", "2", "4"], ["3"]]


def test_open_sessions_side_by_side_stay_apart_without_a_record_between_them() -> None:
    #   gap 10, max_length 15     0              15 |17          30
    #   open                      s0--------------| s1------|
    #   record                                                 0 joins s1 only
    opened = [Opened(1, 0, 15), Opened(1, 17, 25)]
    assert sessions(Rules(10, 0, 15), opened, [Event(1, 30, 0)]) == [["0", "s1"], ["s0"]]
    assert sessions(Rules(10, 0, 15), opened, []) == [["s0"], ["s1"]]


def test_a_record_too_far_for_every_session_in_reach_begins_another() -> None:
    #   gap 10, max_length 5      0    5
    #   open                      s0---|
    #   record                             0   8 from the first: too long together
    assert sessions(Rules(10, 0, 5), [Opened(1, 0, 5)], [Event(1, 8, 0)]) == [["0"], ["s0"]]
    assert lateness(assigned(Rules(10, 0, 5), [Opened(1, 0, 5)], [Event(1, -6, 4)])) == {0: 0}


def test_sessions_made_one_are_reached_as_one() -> None:
    #   gap 9, max_length 10      0       4       8       12
    #   open                      s0              s1
    #   records                           0               1
    #                             |---------------|             0 makes them one, 8 long
    #                             |-------------------x         with 1 it would be 12 long,
    #                                                           however near 1 is to what was s1
    opened = [Opened(1, 0, 0), Opened(1, 8, 8)]
    events = [Event(1, 4, -9), Event(1, 12, -9)]
    assert sessions(Rules(9, 0, 10), opened, events) == [["0", "s0", "s1"], ["1"]]


def test_of_several_sessions_the_earlier_is_joined_first() -> None:
    #   gap 10, max_length 15     0        9        18   21
    #   open                      s0                s1---|
    #   record                             0          joins s0; with s1 it would be 21 long
    opened = [Opened(1, 18, 21), Opened(1, 0, 0)]
    assert sessions(Rules(10, 0, 15), opened, [Event(1, 9, 0)]) == [["0", "s1"], ["s0"]]


def test_nothing_is_nothing() -> None:
    empty = assigned(Rules(10, 0), [], [])
    assert (empty.count, len(empty.of_open), len(empty.of_event)) == (0, 0, 0)


def test_a_session_is_declared_by_its_gap() -> None:
    session = Session("30m", max_length=timedelta(hours=8))
    assert (session.gap_ms, session.max_length_ms) == (1_800_000, 28_800_000)
    assert Session("1s").max_length_ms is None


@pytest.mark.parametrize(
    ("gap", "max_length", "message"),
    [
        ("0s", None, "gap above zero"),
        ("soon", None, "not a duration"),
        ("5m", "0s", "max_length above zero"),
        ("5m", -1, "negative"),
    ],
)
def test_a_session_that_cannot_be_is_refused(
    gap: str, max_length: str | int | None, message: str
) -> None:
    with pytest.raises(DeclarationError, match=message):
        Session(gap, max_length)
