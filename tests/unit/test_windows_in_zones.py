"""Windows of whole days in zones, where days are of any length, and some never happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.eventtime.windows import Hopping, Tumbling
from kappa.eventtime.zones import DAY_MS, zone_days

EPOCH = date(1970, 1, 1)
HOUR = 3_600_000

ODD_DAYS = [
    ("Europe/Berlin", "2024-03-31"),  # 23 hours
    ("Europe/Berlin", "2024-10-27"),  # 25 hours
    ("Australia/Lord_Howe", "2024-04-07"),  # 24.5 hours
    ("Asia/Kolkata", "2024-01-01"),  # half an hour from the hour
    ("Asia/Kathmandu", "1986-01-01"),  # 15 minutes taken out at midnight
    ("Pacific/Chatham", "2024-09-29"),  # 45 minutes from the hour
    ("Asia/Pyongyang", "2015-08-15"),  # the last half hour of the day before twice
    ("America/Sao_Paulo", "2018-11-04"),  # begins at 01:00
    ("Asia/Beirut", "2022-03-27"),  # begins at 01:00
    ("Africa/Cairo", "2014-08-01"),  # begins at 01:00
    ("America/Havana", "2020-11-01"),  # midnight twice
    ("Atlantic/Azores", "2020-10-25"),  # midnight twice
    ("America/Sao_Paulo", "2018-02-18"),  # the last hour of the day before twice
    ("America/St_Johns", "2006-10-29"),  # begins, goes back a minute later, begins again
    ("America/St_Johns", "2007-03-11"),  # 00:01 to 01:01
    ("America/Toronto", "1919-03-31"),  # begins at 00:30, after 23:30
    ("Pacific/Apia", "2011-12-30"),  # never happened
    ("Pacific/Apia", "2011-12-31"),
    ("Pacific/Kwajalein", "1993-08-21"),  # never happened
    ("Pacific/Enderbury", "1994-12-31"),  # never happened
    ("Africa/Monrovia", "1972-01-07"),  # 44 minutes and 30 seconds from the hour until then
    ("UTC", "1969-12-31"),
]


def number(day: str) -> int:
    return (date.fromisoformat(day) - EPOCH).days


def ms(text: str) -> int:
    """An instant written with its offset, or in UTC."""
    return round(datetime.fromisoformat(text).timestamp() * 1_000)


def series(values: Sequence[int]) -> pl.Series:
    return pl.Series(values, dtype=pl.Int64)


def dated(zone: str, second: int) -> int:
    """The number of the date that clocks show."""
    return (datetime.fromtimestamp(second, ZoneInfo(zone)).date() - EPOCH).days


@cache
def begins(zone: str, day: int) -> int:
    """When the clocks first show ``day`` or a later date, found by looking at them; ms."""
    noon = day * 86_400 + 43_200
    minutes = range(noon - 40 * 3_600, noon + 40 * 3_600, 60)
    minute = next(second for second in minutes if dated(zone, second) >= day)
    return 1_000 * next(s for s in range(minute - 59, minute + 1) if dated(zone, s) >= day)


@pytest.mark.parametrize(("zone", "day"), ODD_DAYS)
def test_days_begin_where_the_clocks_say(zone: str, day: str) -> None:
    around = np.arange(number(day) - 3, number(day) + 4)
    assert zone_days(zone).begin(around).tolist() == [begins(zone, d) for d in around.tolist()]


@pytest.mark.parametrize(("zone", "day"), ODD_DAYS)
def test_an_instant_is_of_the_latest_day_begun(zone: str, day: str) -> None:
    days = range(number(day) - 4, number(day) + 5)
    instants = [
        begins(zone, d) + shift for d in days[1:-1] for shift in (-1, 0, 1, 30 * 60_000, 12 * HOUR)
    ]
    latest = [max(d for d in days if begins(zone, d) <= instant) for instant in instants]
    assert zone_days(zone).day(np.array(instants)).tolist() == latest


def test_the_day_begins_at_one_where_midnight_is_skipped() -> None:
    #   Sao Paulo, 2018-11-04      23:00   (00:00)  01:00    02:00
    #   UTC                        02:00            03:00    04:00
    #                         3rd ---------------)[--------------- 4th, 23 hours
    window = Tumbling("1d", zone="America/Sao_Paulo")
    events = series([ms("2018-11-04T02:59:59.999Z"), ms("2018-11-04T03:00Z")])
    start = window.pane(events)
    assert start.to_list() == [ms("2018-11-03T03:00Z"), ms("2018-11-04T03:00Z")]
    assert window.end(start).to_list() == [ms("2018-11-04T03:00Z"), ms("2018-11-05T02:00Z")]
    assert window.last_end(events).equals(window.end(start))


def test_the_day_begins_at_the_first_of_two_midnights() -> None:
    #   Havana, 2020-11-01    23:00  00:00  00:59|00:00  01:00
    #   UTC                   03:00  04:00       |05:00  06:00
    #                         31st )[---------- 1st, 25 hours
    window = Tumbling("1d", zone="America/Havana")
    events = series(
        [ms("2020-11-01T03:59:59.999Z"), ms("2020-11-01T04:00Z"), ms("2020-11-01T05:00Z")]
    )
    start = window.pane(events)
    assert start.to_list()[1:] == [ms("2020-11-01T04:00Z")] * 2
    assert (window.end(start) - start).to_list() == [24 * HOUR, 25 * HOUR, 25 * HOUR]


def test_a_date_that_never_happened_has_no_window() -> None:
    #   Apia    29 December        30th  31 December
    #           [-----------------)[)[-----------------)
    #   UTC     29th 10:00         30th 10:00          31st 10:00
    window = Tumbling("1d", zone="Pacific/Apia")
    events = series([ms("2011-12-30T09:59:59.999Z"), ms("2011-12-30T10:00Z")])
    start = window.pane(events)
    assert start.to_list() == [ms("2011-12-29T10:00Z"), ms("2011-12-30T10:00Z")]
    assert window.end(start).to_list() == [ms("2011-12-30T10:00Z"), ms("2011-12-31T10:00Z")]


def test_windows_that_begin_at_one_instant_are_one() -> None:
    #   Apia, two days each day     29th    30th 31st    1st     2nd
    #                               [------------)               29th and 30th: 24 hours
    #                                       [)-----------        30th and 31st: left out
    #                                            [-------)-----) 31st and 1st: 48 hours
    window = Hopping("2d", "1d", zone="Pacific/Apia")
    new_years_eve = window.pane(series([ms("2011-12-30T22:00Z")]))
    assert window.starts(new_years_eve).to_list() == [[ms("2011-12-30T10:00Z")]]
    assert window.first_start(new_years_eve).to_list() == [ms("2011-12-30T10:00Z")]
    assert window.end(new_years_eve).to_list() == [ms("2012-01-01T10:00Z")]
    assert window.end(series([ms("2011-12-29T10:00Z")])).to_list() == [ms("2011-12-30T10:00Z")]


def test_weeks_begin_on_the_day_the_offset_says() -> None:
    #   Berlin      Mon 25 March                 Sun 31st  Mon 1 April
    #               [--------------------------------------)
    #   UTC         24th 23:00                   DST       31st 22:00
    window = Tumbling("7d", offset="4d", zone="Europe/Berlin")
    (start,) = window.pane(series([ms("2024-03-31T21:59:59.999Z")]))
    assert start == ms("2024-03-25T00:00+01:00")
    assert window.end(series([start])).to_list() == [ms("2024-04-01T00:00+02:00")]


def test_days_go_on_to_the_ends_of_the_calendar() -> None:
    window = Tumbling("1d", zone="Asia/Tokyo")
    events = series([ms("0001-01-01T00:00Z"), ms("1970-01-01T00:00Z"), ms("9999-12-31T23:59:59Z")])
    start = window.pane(events)
    assert ((start <= events) & (events < window.end(start))).all()
    assert (window.end(start) - start).to_list() == [DAY_MS] * 3
    assert window.fixed_size_ms is None


def odd_places() -> Iterator[st.SearchStrategy[tuple[str, int]]]:
    """Instants about odd days, and about any day of some years."""
    for zone, day in ODD_DAYS:
        middle = number(day) * DAY_MS
        yield st.tuples(st.just(zone), st.integers(middle - 3 * DAY_MS, middle + 3 * DAY_MS))
    some_day = st.integers(number("1973-01-01") * DAY_MS, number("2030-01-01") * DAY_MS)
    yield st.tuples(st.sampled_from([zone for zone, _ in ODD_DAYS]), some_day)


@settings(max_examples=300)
@given(
    place=st.one_of(*odd_places()),
    size=st.integers(1, 8),
    hop=st.integers(1, 10),
    offset=st.integers(0, 12),
)
def test_windows_are_those_of_an_enumeration(
    place: tuple[str, int], size: int, hop: int, offset: int
) -> None:
    zone, event = place
    window = Hopping(size * DAY_MS, hop * DAY_MS, offset * DAY_MS, zone)
    middle = (event // DAY_MS - offset) // hop
    days = [offset + n * hop for n in range(middle - size - 3, middle + size + 4)]
    spans = {begins(zone, d): begins(zone, d + size) for d in days}  # the last of equal starts
    holding = sorted(start for start, end in spans.items() if start <= event < end)
    borders = [*spans.keys(), *spans.values()]

    (pane,) = window.pane(series([event]))
    ends = [spans[start] for start in holding]
    assert pane == max(border for border in borders if border <= event)
    assert window.starts(series([pane])).to_list() == [holding]
    assert window.first_start(series([pane]))[0] == min(holding, default=None)
    assert window.last_end(series([event]))[0] == max(ends, default=None)
    assert window.end(series(holding)).to_list() == ends
    open_at = [start for start, end in spans.items() if end > event]
    assert window.first_open(series([event]))[0] == min(open_at)
