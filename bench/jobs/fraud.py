"""The example's fraud alerts: a tiny transaction, then a large one on the account in a minute.

A minute of processing time, which in a replay is that of the record timestamps: at each record
the greatest of its partition so far. The example's timer forgets a tiny transaction as soon as
that is a minute after what it was then; a further tiny one puts the timer off.
"""

from __future__ import annotations

from bench.jobs.job import Arrived, Job, instant
from bench.transactions import TRANSACTIONS
from example_processors.fraud_alerts.v1 import LARGE, MINUTE_MS, SMALL, FraudDetector
from kappa import Source


class Fraud(FraudDetector):
    """The example over the transactions of the bench."""

    name = "bench_fraud"
    source = Source(TRANSACTIONS.topic_here, event_time="at", out_of_orderness="5s")


def by_hand(arrived: Arrived) -> list[str]:
    """A dict of when each account's last tiny transaction is forgotten."""
    now: dict[int | None, int] = {}
    forgotten: dict[str, int] = {}
    alerts = []
    for message, transaction in arrived:
        partition, timestamp = message.partition(), message.timestamp()[1]
        reached = now[partition] = max(now.get(partition, 0), timestamp)
        account, amount = transaction["account_id"], transaction["amount"]
        if amount > LARGE and reached < forgotten.get(account, 0):
            alerts.append(f"{account}\t{amount!r}\t{instant(transaction['at'])}\n")
        if amount < SMALL:
            forgotten[account] = reached + MINUTE_MS
    return alerts


JOB = Job(
    title="fraud alerts by account",
    stream=TRANSACTIONS,
    processor=Fraud(),
    by_hand=by_hand,
    table="account_id text, amount double precision, at timestamptz",
    expected="""
        WITH timed AS (
            SELECT *, max("at") OVER (PARTITION BY partition ORDER BY line) AS reached
              FROM records),
        followed AS (
            SELECT *, max(reached) FILTER (WHERE amount < 1.00)
                      OVER (PARTITION BY account_id ORDER BY line
                            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS tiny
              FROM timed)
        SELECT account_id, amount::DECIMAL(18, 2) AS amount, "at"
          FROM followed
         WHERE amount > 500.00 AND reached < tiny + INTERVAL 1 MINUTE
    """,
    target=300_000,
)
