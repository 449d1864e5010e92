"""Windows, watermarks and lateness on drawn timelines."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from kappa import Hopping, Session, Source, ToWebhook, ValueState
from kappa.errors import DeclarationError
from kappa.eventtime.durations import milliseconds
from kappa.eventtime.lateness import overdue
from kappa.eventtime.watermark import PartitionClock, watermarks
from kappa.eventtime.windows import Tumbling


def times(*values: int) -> pl.Series:
    return pl.Series(values, dtype=pl.Int64)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("250ms", 250), ("5s", 5_000), ("1m", 60_000), ("1h30m", 5_400_000), ("2d", 172_800_000)],
)
def test_durations_read_as_people_write_them(text: str, expected: int) -> None:
    assert milliseconds(text) == expected


@pytest.mark.parametrize(
    "given",
    ["", "5", "5 s", "-5s", "5y", "s", "1.5h", 0.5, 2.0, True, None, timedelta(microseconds=1_500)],
)
def test_what_is_no_duration_or_no_whole_milliseconds_is_refused(given: Any) -> None:
    with pytest.raises(DeclarationError, match=r"^gap: .* is not a duration") as refused:
        milliseconds(given, "gap")
    assert "500ms" in refused.value.hint


@pytest.mark.parametrize("given", [-1, timedelta(seconds=-1)])
def test_a_duration_below_zero_is_refused(given: Any) -> None:
    with pytest.raises(DeclarationError, match="is negative") as refused:
        milliseconds(given)
    assert "from zero on" in refused.value.hint


def test_a_duration_longer_than_there_are_dates_is_refused() -> None:
    assert milliseconds("3660000d") == 3_660_000 * 86_400_000
    with pytest.raises(DeclarationError, match=r"^gap: '3660001d' is beyond all dates"):
        milliseconds("3660001d", "gap")


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda wrong: Tumbling(wrong), "size"),
        (lambda wrong: Tumbling("1m", offset=wrong), "offset"),
        (lambda wrong: Hopping("1m", wrong), "hop"),
        (lambda wrong: Session(wrong), "gap"),
        (lambda wrong: Source("t", out_of_orderness=wrong), "out_of_orderness"),
        (lambda wrong: Source("t", max_ahead=wrong), "max_ahead"),
        (lambda wrong: ValueState(int, ttl=wrong), "ttl"),
        (lambda wrong: ToWebhook("http://localhost", timeout=wrong), "timeout"),
    ],
)
def test_a_field_that_is_no_duration_is_named(make: Callable[[Any], object], field: str) -> None:
    with pytest.raises(DeclarationError, match=f"^{field}: 1.5 is not a duration"):
        make(1.5)


def test_windows_are_half_open_and_aligned_to_the_epoch() -> None:
    #   window     [-60 s, 0)   [0, 60 s)    [60 s, 120 s)
    #   events    -60.000  -1 | 0   59.999 | 60.000
    window = Tumbling("1m")
    start = window.pane(times(-60_000, -1, 0, 59_999, 60_000))
    assert start.to_list() == [-60_000, -60_000, 0, 0, 60_000]
    assert window.end(start).to_list() == [0, 0, 60_000, 60_000, 120_000]


def test_a_window_needs_a_size() -> None:
    with pytest.raises(DeclarationError, match="size above zero"):
        Tumbling("0s")


def test_the_watermark_never_falls_and_goes_on_from_where_the_batch_before_left_it() -> None:
    #   event time   10   30   20 | 25   50        out_of_orderness 5
    #   watermark     5   25   25 | 25   45
    clock = PartitionClock()
    first = times(10, 30, 20)
    assert watermarks(first, clock, 5).to_list() == [5, 25, 25]
    clock = clock.advanced(first, times(100, 101, 102))
    assert clock == PartitionClock(30, 102)
    assert watermarks(times(25, 50), clock, 5).to_list() == [25, 45]


def test_a_batch_without_records_leaves_the_clock() -> None:
    clock = PartitionClock(7, 8)
    assert clock.advanced(times(), times()) == clock
    assert clock.advanced(None, times(20)) == PartitionClock(7, 20)


def test_a_window_closes_when_the_watermark_reaches_its_end_plus_lateness() -> None:
    #   window [0, 60) + lateness 10: closes at 70
    #   watermark   69   70   75
    #   verdict     in  late  late
    end = times(60, 60, 60)
    assert overdue(end, times(69, 70, 75), 10).to_list() == [-1, 0, 5]
