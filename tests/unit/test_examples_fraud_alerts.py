"""The example ``fraud_alerts``, in memory: a tiny transaction, then a large one within a minute."""

from __future__ import annotations

from pathlib import Path

import pytest

from example_processors.fraud_alerts.v1 import FraudDetector
from kappa.testing import Driver, Timer, assert_deterministic
from tests.examples import Row, batches, comparable, fraud_alerts, in_topic, keyed, transactions

SCHEMA = Path(__file__).parents[2] / "schemas" / "transaction.avsc"
NOON = 1_704_110_400_000

Payment = tuple[str, float, float]
"""Account, amount, seconds after noon."""


def payment(account: str, amount: float, seconds: float) -> Row:
    return {"account_id": account, "amount": amount, "at": NOON + int(seconds * 1_000)}


def alerts(driver: Driver) -> list[Payment]:
    """Who was alerted about what, and how many seconds after noon."""
    return [
        (row["account_id"], row["amount"], row["at"].timestamp() - NOON / 1_000)
        for row in driver.rows
    ]


@pytest.fixture
def driver() -> Driver:
    return Driver(FraudDetector, schema=SCHEMA)


@pytest.mark.parametrize(
    ("payments", "alerted"),
    [
        ([("a", 0.5, 0), ("a", 600.0, 59)], [("a", 600.0, 59)]),
        ([("a", 0.5, 0), ("a", 600.0, 60)], []),
        ([("a", 0.5, 0), ("a", 600.0, 61)], []),
        ([("a", 0.5, 0), ("b", 600.0, 1)], []),
        ([("a", 1.0, 0), ("a", 600.0, 1)], []),
        ([("a", 0.5, 0), ("a", 500.0, 1)], []),
        ([("a", 600.0, 0), ("a", 0.5, 1)], []),
        ([("a", 0.5, 0), ("a", 0.5, 30), ("a", 600.0, 89)], [("a", 600.0, 89)]),
    ],
)
@pytest.mark.parametrize("restarts", [False, True])
def test_alerts(
    driver: Driver, payments: list[Payment], alerted: list[Payment], restarts: bool
) -> None:
    for one in payments:
        driver.send(payment(*one))
        if restarts:
            driver.checkpoint()
            driver.restart()
    assert alerts(driver) == alerted
    assert driver.dead_letters == []


def test_a_small_payment_is_remembered_for_a_minute_across_a_restart(driver: Driver) -> None:
    driver.send(payment("a", 0.5, 0))
    assert driver.timers == [Timer(NOON + 60_000, "a", "", "processing")]
    driver.restart()
    assert driver.state("a") == {"small_seen": True}
    driver.advance_time(NOON + 60_000)
    assert driver.state("a") == {"small_seen": None}


def test_a_stream_of_payments_comes_to_what_the_reference_comes_to(driver: Driver) -> None:
    rows = transactions(1_500, seed=1)
    topic = in_topic(
        keyed(rows, "account_id"), lambda key: int(key[1:]) % 3, (row["at"] for row in rows)
    )
    for partition, records in batches(topic):
        driver.send(*(record.row for record in records), partition=partition)
        driver.checkpoint()
        driver.restart()
    wanted = fraud_alerts(topic)
    assert 0 < len(wanted) < sum(row["amount"] > 500 for row in rows)
    assert comparable(driver.rows, "at", "account_id") == wanted


def test_however_the_topic_is_read() -> None:
    rows = transactions(60, seed=2)
    of = [[row for row in rows if int(row["account_id"][1:]) % 2 == part] for part in (0, 1)]
    assert_deterministic(FraudDetector, dict(enumerate(of)), schema=SCHEMA, ways=8)
