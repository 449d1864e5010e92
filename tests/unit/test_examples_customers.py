"""The example ``customers``, in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from example_processors.customers.v1 import customers as declared
from kappa.testing import Driver, Sent, assert_deterministic
from tests.examples import Row, comparable, customers, in_topic, latest_customers

SCHEMA = Path(__file__).parents[2] / "schemas" / "customer.avsc"


def customer(name: str, city: str | None = None, customer: str = "c1") -> Row:
    return {"customer": customer, "name": name, "city": city}


@pytest.fixture
def driver() -> Driver:
    return Driver(declared, schema=SCHEMA)


def test_the_latest_record_of_a_customer_is_their_row(driver: Driver) -> None:
    # offset    0            1            2
    # c1      Ann, Ulm                  Ann, Köln
    # c2                   Bob
    driver.send(customer("Ann", "ulm"), customer("Bob", customer="c2"), customer("Ann", " köln "))
    assert driver.rows == [
        {"customer": "c1", "name": "Ann", "city": "Köln"},
        {"customer": "c2", "name": "Bob", "city": None},
    ]


def test_a_record_without_a_value_forgets_the_customer(driver: Driver) -> None:
    # offset    0      1      2
    # c1       Ann   gone    Ann
    driver.send(customer("Ann"))
    driver.send(None, key="c1")
    assert driver.rows == []
    driver.send(customer("Ann"))
    assert [row["name"] for row in driver.rows] == ["Ann"]


def test_a_record_with_another_key_is_a_dead_letter(driver: Driver) -> None:
    driver.send(customer("Ann"), key="c2")
    assert driver.rows == []
    assert [letter["offset"] for letter in driver.dead_letters] == [0]


def test_a_stream_of_changes_comes_to_what_the_reference_comes_to(driver: Driver) -> None:
    topic = in_topic(customers(800, seed=1), lambda key: int(key[1:]) % 3)
    for record in topic:
        driver.send(record.row, partition=record.partition, key=record.key)
    wanted = latest_customers(topic)
    assert 0 < len(wanted) < 40
    assert comparable(driver.rows, "customer") == wanted


def test_however_the_topic_is_read() -> None:
    records = [Sent(row, key=key) for key, row in customers(60, seed=2)]
    assert_deterministic(declared, records, schema=SCHEMA, ways=8)
