"""The example ``session_analytics``, in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from example_processors.session_analytics.v1 import session_analytics
from kappa.testing import Driver, assert_deterministic
from tests.examples import Row, batches, comparable, in_topic, keyed, page_views
from tests.examples import session_analytics as expected

SCHEMA = Path(__file__).parents[2] / "schemas" / "page_view.avsc"


def view(at: str, page: str = "/", load_ms: int | None = None, visitor: str = "ann") -> Row:
    return {
        "visitor": visitor,
        "page": page,
        "load_ms": load_ms,
        "viewed_at": f"2024-05-01T{at}:00Z",
    }


def spans(driver: Driver) -> list[tuple[str, str, int]]:
    """Start and end of each session as hours and minutes, and its views."""
    return [
        (f"{row['window_start']:%H:%M}", f"{row['window_end']:%H:%M}", row["views"])
        for row in driver.rows
    ]


@pytest.fixture
def driver() -> Driver:
    return Driver(session_analytics, schema=SCHEMA, record_key="visitor")


def test_a_visit_ends_after_half_an_hour_of_silence(driver: Driver) -> None:
    # 12:00     12:29     12:58        13:28       13:58
    #   |---------|---------|------------|-----------|
    #   x         x         x            x  30 minutes later, so a visit of its own
    #   [                           13:28)[          )
    driver.send(view("12:00"), view("12:29"), view("12:58"), view("13:28"))
    assert spans(driver) == [("12:00", "13:28", 3), ("13:28", "13:58", 1)]


def test_what_a_visit_shows(driver: Driver) -> None:
    # 12:00    12:01    12:02    12:03    12:04
    #   /       /tea     /tea   /checkout   /
    #           40 ms    90 ms    40 ms    10 ms
    driver.send(
        view("12:00", "/"),
        view("12:01", "/tea", 40),
        view("12:02", "/tea", 90),
        view("12:03", "/checkout", 40),
        view("12:04", "/", 10),
    )
    (row,) = driver.rows
    shown: dict[str, Any] = {
        "views": 5,
        "pages": 3,
        "first_page": "/",
        "last_page": "/",
        "slowest_ms": 90,
        "slowest_pages": ["/tea", "/checkout", "/tea"],  # of equal ones the last comes first
        "checkouts": 1,
    }
    assert {name: row[name] for name in shown} == shown


def test_first_and_last_go_by_event_time(driver: Driver) -> None:
    # came    1st       2nd       3rd
    # at     12:10     12:20     12:00, which is still open: the watermark is at 12:19
    driver.send(view("12:10", "/tea"), view("12:20", "/cart"), view("12:00", "/"))
    (row,) = driver.rows
    assert (row["first_page"], row["last_page"]) == ("/", "/cart")


def test_a_view_between_two_visits_makes_them_one(driver: Driver) -> None:
    # 12:00       12:15       12:30                   13:00
    #   x                       x                       |     the watermark is at 12:29
    #   [                  12:30)[                      )
    #   x           x           x
    #   [                                               )
    driver.send(view("12:00"), view("12:30"))
    assert spans(driver) == [("12:00", "12:30", 1), ("12:30", "13:00", 1)]
    driver.send(view("12:15"))
    assert spans(driver) == [("12:00", "13:00", 3)]


def test_a_closed_visit_takes_no_more(driver: Driver) -> None:
    # ann    12:00                       x at 12:10, too late by a minute
    # bob                         12:42
    #          [           12:30)   | watermark 12:41: closed since 12:40 for a view at 12:10
    driver.send(view("12:00"), view("12:42", visitor="bob"), view("12:10"))
    assert spans(driver) == [("12:00", "12:30", 1), ("12:42", "13:12", 1)]
    (late,) = driver.late
    assert (late["visitor"], late["_verdict"]) == ("ann", "session_closed")
    assert late["_late_by_ms"] == 60_000


def test_nobody_stays_longer_than_half_a_day(driver: Driver) -> None:
    # a view every 20 minutes from 00:00 on
    # 00:00                                 12:00   12:20
    #   x----x----x---- ... ----x----x--------x       x
    #   [ twelve hours                          12:30)
    #                                               [     12:50)
    robot = [view(f"{n // 3:02}:{n % 3 * 20:02}", visitor="robot") for n in range(38)]
    driver.send(*robot)
    assert spans(driver) == [("00:00", "12:30", 37), ("12:20", "12:50", 1)]


def test_the_key_must_be_the_record_key(driver: Driver) -> None:
    driver.send(view("12:00"), key="somebody else")
    assert driver.rows == []
    (letter,) = driver.dead_letters
    assert letter["message"] == "the record key is not the text of 'visitor'"


def test_a_stream_with_disorder_comes_to_what_the_reference_comes_to(driver: Driver) -> None:
    topic = in_topic(keyed(page_views(1_500, seed=1), "visitor"), lambda key: len(key) % 3)
    for partition, records in batches(topic):
        driver.send(*(record.row for record in records), partition=partition)
        driver.checkpoint()
    wanted = expected(topic)
    assert wanted.late, "the stream should have late views"
    assert comparable(driver.rows, "visitor", "window_start") == wanted.rows
    late = {(row["_partition"], row["_offset"]): row["_late_by_ms"] for row in driver.late}
    assert late == wanted.late


def test_however_the_topic_is_read() -> None:
    rows = page_views(80, seed=2)
    partitions = {
        number: [row for row in rows if len(row["visitor"]) % 2 == number] for number in (0, 1)
    }
    assert_deterministic(session_analytics, partitions, schema=SCHEMA, record_key="visitor", ways=8)
