"""The example ``order_totals``, in memory."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from example_processors.order_totals.v1 import order_totals
from kappa.testing import Driver, assert_deterministic
from tests.examples import Row, batches, comparable, in_topic, keyed, orders
from tests.examples import order_totals as expected

SCHEMA = Path(__file__).parents[2] / "schemas" / "order.avsc"


def order(at: str, product: str = "tea", quantity: int = 1, amount: str = "3.50") -> Row:
    return {
        "order_id": 1,
        "customer": "ann",
        "product": product,
        "quantity": quantity,
        "amount": amount,
        "placed_at": f"2024-05-01T{at}Z",
    }


@pytest.fixture
def driver() -> Driver:
    return Driver(order_totals, schema=SCHEMA)


def test_a_window_is_five_minutes_of_a_product(driver: Driver) -> None:
    #     12:00          12:05          12:10
    #       |--------------|--------------|
    # tea   2           1  1              1
    # ink       5
    driver.send(
        order("12:00:00", quantity=2),
        order("12:01:00", product="ink", quantity=5),
        order("12:04:59.999"),
        order("12:05:00"),
        order("12:10:00"),
    )
    found = [(row["product"], f"{row['window_start']:%H:%M}", row["orders"], row["quantity"])
             for row in driver.rows]  # fmt: skip
    assert found == [
        ("ink", "12:00", 1, 5),
        ("tea", "12:00", 2, 3),
        ("tea", "12:05", 1, 1),
        ("tea", "12:10", 1, 1),
    ]


def test_totals_are_exact_to_the_cent(driver: Driver) -> None:
    for _ in range(10):
        driver.send(order("12:00:00", amount="0.10"))
        driver.checkpoint()
    (row,) = driver.rows
    assert row["revenue"] == Decimal("1.00")
    assert (row["orders"], row["quantity"], row["mean_quantity"]) == (10, 10, 1.0)


def test_an_order_is_late_a_minute_after_its_window(driver: Driver) -> None:
    # event time        12:04    12:05                   12:06:29  12:06:30
    #                     |--------|------------------------|----------|------>
    # its watermark     12:03:30 12:04:30                12:05:59   12:06
    # [12:00, 12:05)    ... takes orders .........................)  closed
    driver.send(order("12:06:29.999"), order("12:00:00"))
    assert [row["orders"] for row in driver.rows] == [1, 1]
    assert driver.late == []

    driver.send(order("12:06:30"), order("12:00:00"))
    assert [row["orders"] for row in driver.rows] == [1, 2]
    (late,) = driver.late
    assert (late["_offset"], late["_late_by_ms"], late["_verdict"]) == (3, 0, "window_closed")
    assert late["product"] == "tea"


def test_each_partition_has_its_own_watermark(driver: Driver) -> None:
    # partition 0            12:00                 13:00
    # partition 1   12:00                                  12:00 in time
    driver.send(order("12:00:00"), partition=1)
    driver.send(order("12:00:00"), order("13:00:00"), partition=0)
    driver.send(order("12:00:00"), partition=1)
    assert [row["orders"] for row in driver.rows] == [3, 1]
    assert driver.late == []


def test_a_stream_with_disorder_comes_to_what_the_reference_comes_to(driver: Driver) -> None:
    topic = in_topic(keyed(orders(1_500, seed=1), "customer"), lambda key: int(key[1:]) % 3)
    for partition, records in batches(topic):
        driver.send(*(record.row for record in records), partition=partition)
        driver.checkpoint()
    wanted = expected(topic)
    assert wanted.late, "the stream should have late orders"
    assert comparable(driver.rows, "product", "window_start") == wanted.rows
    late = {(row["_partition"], row["_offset"]): row["_late_by_ms"] for row in driver.late}
    assert late == wanted.late


def test_however_the_topic_is_read() -> None:
    rows = orders(60, seed=2)
    assert_deterministic(order_totals, {0: rows[::2], 1: rows[1::2]}, schema=SCHEMA, ways=8)
