"""Tumbling, hopping and sliding windows on drawn timelines and against enumeration."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kappa.errors import DeclarationError
from kappa.eventtime.lateness import overdue
from kappa.eventtime.windows import Aligned, Hopping, Sliding, Tumbling

Span = tuple[int, int]


def series(values: Sequence[int]) -> pl.Series:
    return pl.Series(values, dtype=pl.Int64)


def test_windows_overlap_where_the_hop_is_shorter_than_the_size() -> None:
    #   hop 4        0   2   4   6   8   10  12  14  16
    #   size 10      [-------------------)
    #                        [-------------------)
    #                                [-------------------)
    #   panes        [---)[--)[--)[--)[--)[--)[--)[--)
    #   events                           9 |10
    window = Hopping(10, 4)
    panes = window.pane(series([9, 10]))
    assert panes.to_list() == [8, 10]
    assert window.starts(panes).to_list() == [[0, 4, 8], [4, 8]]
    assert window.first_start(panes).to_list() == [0, 4]
    assert window.end(series([0, 4, 8])).to_list() == [10, 14, 18]
    assert window.last_end(series([9, 10])).to_list() == [18, 18]
    assert window.panes_per_window == 5


def test_events_lie_in_no_window_where_the_hop_is_longer_than_the_size() -> None:
    #   size 3, hop 10    [--)       [--)       [--)
    #                    -10  -7     0  3       10 13
    #   events                -7   -1 0 2 3
    window = Hopping(3, 10)
    events = series([-10, -7, -1, 0, 2, 3])
    panes = window.pane(events)
    assert window.last_end(events).to_list() == [-7, None, None, 3, 3, None]
    assert window.starts(panes).to_list() == [[-10], [], [], [0], [0], []]
    assert window.first_start(panes).to_list() == [-10, None, None, 0, 0, None]
    assert window.panes_per_window == 1


def test_an_offset_moves_all_windows() -> None:
    #   offset 3      -7         3          13
    #                 [----------)[---------)
    #   events           -1 0  2 3   12  13
    window = Tumbling(10, offset=3)
    assert window.pane(series([-1, 0, 2, 3, 12, 13])).to_list() == [-7, -7, -7, 3, 3, 13]
    assert Tumbling(10, offset=23).pane(series([2, 3])).to_list() == [-7, 3]


def test_a_record_still_counts_in_the_windows_that_are_open() -> None:
    #   size 10, hop 5, lateness 2        watermark 12: horizon 10
    #   [0---------10)    closed: 10 <= horizon
    #        [5---------15)    open
    #   events 7 (both), 4 (the closed one and [-5, 5)), 11
    window = Hopping(10, 5)
    events, watermark, lateness = series([7, 4, 11]), series([12, 12, 12]), 2
    first_open = window.first_open(watermark - lateness)
    assert first_open.to_list() == [5, 5, 5]
    assert overdue(window.last_end(events), watermark, lateness).to_list() == [-5, 0, -10]
    counted = [
        [start for start in starts if start >= first]
        for starts, first in zip(window.starts(window.pane(events)), first_open, strict=True)
    ]
    assert counted == [[5], [], [5, 10]]


def test_sliding_windows_are_hopping_windows_by_another_name() -> None:
    events = series(range(-30, 30))
    sliding, hopping = Sliding(15, 5, offset=2), Hopping(15, 5, offset=2)
    assert sliding.starts(sliding.pane(events)).equals(hopping.starts(hopping.pane(events)))
    assert sliding.panes_per_window == 3


def test_a_window_goes_to_another_process_as_it_is() -> None:
    window = Hopping("7d", "1d", offset="4d", zone="Europe/Berlin")
    there = pickle.loads(pickle.dumps(window))
    assert there == window
    assert there.pane(series([0])).equals(window.pane(series([0])))
    assert Tumbling("1m") != Tumbling("1m", offset="1s")


def test_windows_of_plain_time_are_of_one_size() -> None:
    assert Tumbling("1h").fixed_size_ms == 3_600_000
    assert Hopping("1h", "10m").fixed_size_ms == 3_600_000


@pytest.mark.parametrize("window", [Tumbling(5), Hopping(3, 7), Tumbling("1d", zone="Asia/Tokyo")])
def test_no_events_are_no_windows(window: Aligned) -> None:
    none = series([])
    for method in (window.pane, window.last_end, window.first_open, window.first_start, window.end):
        assert method(none).dtype == pl.Int64
        assert len(method(none)) == 0
    assert window.starts(none).dtype == pl.List(pl.Int64)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: Tumbling("0s"), "size above zero"),
        (lambda: Hopping("1m", "0s"), "hop above zero"),
        (lambda: Hopping("0s", "1m"), "size above zero"),
        (lambda: Sliding("1m", "0s"), "step above zero"),
        (lambda: Sliding("1m", "7s"), "the step '7s' does not divide the size '1m'"),
        (lambda: Hopping("30d", "1s"), "every record would lie in 2,592,000 windows"),
        (lambda: Sliding("1m", "2m"), "does not divide"),
        (lambda: Tumbling("1x"), "not a duration"),
        (lambda: Tumbling(-5), "negative"),
        (lambda: Tumbling("1d", offset="soon"), "not a duration"),
        (lambda: Tumbling("1d", zone="Mars/Olympus"), "'Mars/Olympus' is not the name"),
        (lambda: Tumbling("1d", zone="../zones"), "not the name of a time zone"),
        (lambda: Tumbling("1h", zone="Europe/Paris"), "the size does not"),
        (lambda: Hopping("2d", "12h", zone="Europe/Paris"), "the hop does not"),
        (lambda: Tumbling("1d", "90m", "Europe/Paris"), "the offset does not"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(
    declare: Callable[[], Aligned], message: str
) -> None:
    with pytest.raises(DeclarationError, match=message) as refused:
        declare()
    assert refused.value.hint or "negative" in message


def enumerated(size: int, hop: int, offset: int, near: int) -> list[Span]:
    """The windows around ``near``, far enough to either side for all that is asked of them."""
    middle = (near - offset) // hop
    reach = 2 * (size // hop) + 3
    starts = [offset + n * hop for n in range(middle - reach, middle + reach + 1)]
    return [(start, start + size) for start in starts]


lengths = st.integers(1, 40)
instants = st.integers(-(10**14), 10**14) | st.integers(-200, 200)


@settings(max_examples=500)
@example(size=1, hop=1, offset=0, event=-1)
@example(size=40, hop=7, offset=100, event=-200)
@example(size=5, hop=40, offset=39, event=-1)
@given(lengths, lengths, st.integers(0, 100), instants)
def test_windows_are_those_of_an_enumeration(size: int, hop: int, offset: int, event: int) -> None:
    window, windows = Hopping(size, hop, offset), enumerated(size, hop, offset, event)
    holding = [(start, end) for start, end in windows if start <= event < end]
    borders = [border for span in windows for border in span]

    (pane,) = window.pane(series([event]))
    assert pane == max(border for border in borders if border <= event)
    assert window.starts(series([pane])).to_list() == [[start for start, _ in holding]]
    assert window.first_start(series([pane]))[0] == min((s for s, _ in holding), default=None)
    assert window.last_end(series([event]))[0] == max((e for _, e in holding), default=None)
    assert window.end(series([s for s, _ in windows])).to_list() == [e for _, e in windows]
    assert window.first_open(series([event]))[0] == min(s for s, e in windows if e > event)
    start, end = windows[len(windows) // 2]  # every window that meets it is there
    assert window.panes_per_window == len({b for b in borders if start <= b < end})


@given(lengths, lengths, st.integers(0, 100), st.lists(instants, max_size=20))
def test_many_events_are_many_times_one(
    size: int, hop: int, offset: int, events: list[int]
) -> None:
    window = Hopping(size, hop, offset)
    panes = window.pane(series(events)).to_list()
    assert panes == [window.pane(series([event]))[0] for event in events]
    each = [window.starts(series([pane])).to_list()[0] for pane in panes]
    assert window.starts(series(panes)).to_list() == each


@given(lengths, st.integers(0, 100), instants)
def test_a_tumbling_window_is_the_pane(size: int, offset: int, event: int) -> None:
    window = Tumbling(size, offset)
    (start,) = window.pane(series([event]))
    assert start <= event < start + size == window.end(series([start]))[0]
    assert (start - offset) % size == 0
    assert window.last_end(series([event]))[0] == start + size
