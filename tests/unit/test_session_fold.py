"""Sessions through the fold: what no brute-force list of sessions shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from kappa import Count, Session, Source, WindowedAggregate
from kappa.testing import Driver

ZERO = datetime(2024, 1, 1, tzinfo=UTC)
SESSIONS = WindowedAggregate(
    name="visits",
    version=1,
    source=Source("clicks", event_time="at"),
    key=["visitor"],
    window=Session("10ms"),
    aggregates={"clicks": Count()},
)
SCHEMA = {"visitor": pl.String(), "at": pl.Datetime("ms", "UTC")}


def at(ms: int) -> datetime:
    return ZERO + timedelta(milliseconds=ms)


@pytest.mark.parametrize("after_each", [True, False], ids=["checkpoints", "one batch"])
def test_a_session_taken_back_to_where_a_closed_one_began_leaves_that_one_alone(
    after_each: bool,
) -> None:
    """A late record reaches only the later session, and takes its start back to 0.

    event time       0         10        20
    ann, 1st         a---------)                closed by bob's 12
    bob                          b---------)
    ann, 3rd                  a---------)       at 9: overdue itself? 9 + 10 > 12: it is not
    ann, 4th         a                          at 0: reaches the session of 9, still open
    """
    driver = Driver(SESSIONS, schema=SCHEMA)
    for visitor, ms in (("ann", 0), ("bob", 12), ("ann", 9), ("ann", 0)):
        driver.send({"visitor": visitor, "at": at(ms)})
        if after_each:
            driver.checkpoint()
    assert [
        (r["visitor"], r["window_start"], r["window_end"], r["clicks"]) for r in driver.rows
    ] == [
        ("ann", at(0), at(10), 1),
        ("ann", at(0), at(19), 2),
        ("bob", at(12), at(22), 1),
    ]
    assert driver.late == []


@pytest.mark.parametrize("order", [(0, 1, 0, 1, 0, 1), (1, 1, 1, 0, 0, 0)])
@pytest.mark.parametrize("restarting", [True, False])
def test_one_key_in_two_partitions_is_two_keys(order: tuple[int, ...], restarting: bool) -> None:
    """A topic that grew has keys in two partitions; each judges by its own watermark.

    partition 0      0----5------12
    partition 1                8 . . . . . 20 . . . 30
    """
    sent = {0: [0, 5, 12], 1: [8, 30, 20]}
    driver = Driver(SESSIONS, schema=SCHEMA)
    for partition in order:
        driver.send({"visitor": "ann", "at": at(sent[partition].pop(0))}, partition=partition)
        if restarting:
            driver.restart()
    found = sorted((r["window_start"], r["window_end"], r["clicks"]) for r in driver.rows)
    assert found == [(at(0), at(22), 3), (at(8), at(18), 1), (at(30), at(40), 1)]
    assert len(driver.late) == 1


def test_a_window_beyond_the_calendar_is_a_dead_letter() -> None:
    driver = Driver(SESSIONS, schema=SCHEMA)
    first = datetime(1, 1, 1, tzinfo=UTC)
    driver.send({"visitor": "ann", "at": first}, {"visitor": "ann", "at": at(0)})
    assert [letter["message"] for letter in driver.dead_letters] == [
        "its window is not within the years 1-9999"
    ]
    assert len(driver.rows) == 1
