"""The example ``moving_average``, in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from example_processors.moving_average.v1 import moving_average
from kappa.testing import Driver, assert_deterministic
from tests.examples import Row, batches, comparable, in_topic, keyed, prices
from tests.examples import moving_average as expected

SCHEMA = Path(__file__).parents[2] / "schemas" / "price.avsc"


def price(at: str, amount: float, product: str = "tea") -> Row:
    return {"product": product, "price": amount, "quoted_at": f"2024-05-01T{at}Z"}


def means(driver: Driver) -> dict[str, float]:
    """The mean by the minute that a window ends at."""
    return {f"{row['window_end']:%H:%M}": row["mean_price"] for row in driver.rows}


@pytest.fixture
def driver() -> Driver:
    return Driver(moving_average, schema=SCHEMA)


def test_a_price_counts_for_ten_minutes(driver: Driver) -> None:
    #        12:00  12:01  12:02  ...  12:09  12:10  12:11  12:12
    # tea      10            40
    # mean at  -     10     10          25     25      40     40
    #                ends after 12:00         12:00 is over at 12:10
    driver.send(price("12:00:00", 10), price("12:02:00", 40))
    driver.advance_watermark("2024-05-01T12:30:00Z")
    assert means(driver) == {
        "12:01": 10,
        "12:02": 10,
        **{f"12:{minute:02}": 25 for minute in range(3, 11)},
        "12:11": 40,
        "12:12": 40,
    }


def test_a_mean_is_shown_when_nothing_can_change_it(driver: Driver) -> None:
    # event time    12:00:30          12:01:09   12:01:10
    # watermark     12:00:20          12:00:59   12:01
    # shown          nothing           nothing   the window that ends at 12:01
    driver.send(price("12:00:30", 10), price("12:01:09.999", 20))
    assert means(driver) == {}
    driver.send(price("12:01:10", 20))
    assert means(driver) == {"12:01": 10}


def test_every_partition_must_have_passed_it(driver: Driver) -> None:
    # partition 0    12:00:30 ............ 12:30
    # partition 1    12:00:40 .... silent ........ 12:01:10
    driver.send(price("12:00:30", 10), price("12:30:00", 99), partition=0)
    driver.send(price("12:00:40", 20), partition=1)
    assert means(driver) == {}
    driver.send(price("12:01:10", 30), partition=1)
    assert means(driver) == {"12:01": 15}


def test_a_price_that_is_late_for_some_windows_counts_in_the_others(driver: Driver) -> None:
    #              12:00        12:05          12:10         12:15
    # came first     |            |              |   x 12:12:10, watermark 12:12
    # then a price                  x 12:05:30
    # windows       [ .............................. 12:12) closed, as are those before it
    # it is in           [ 12:03 .......................... 12:13)
    #                                 [ 12:05 ........................... 12:15)
    driver.send(price("12:12:10", 10), price("12:05:30", 40))
    driver.advance_watermark("2024-05-01T12:30:00Z")
    assert driver.late == []
    shown = means(driver)
    assert min(shown) == "12:13"
    assert (shown["12:13"], shown["12:15"], shown["12:16"]) == (25, 25, 10)


def test_a_stream_with_disorder_comes_to_what_the_reference_comes_to(driver: Driver) -> None:
    rows = prices(1_200, seed=1)
    topic = in_topic(keyed(rows, "product"), lambda key: int(key[1:]) % 3)
    for partition, records in batches(topic):
        driver.send(*(record.row for record in records), partition=partition)
        driver.checkpoint()
    wanted = expected(topic)
    assert len(wanted.rows) > 100
    assert comparable(driver.rows, "product", "window_start") == wanted.rows


def test_however_the_topic_is_read() -> None:
    rows = prices(60, seed=2)
    assert_deterministic(moving_average, {0: rows[::2], 1: rows[1::2]}, schema=SCHEMA, ways=8)
