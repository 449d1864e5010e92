"""Records that are published while versions follow them, and processors that do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench import orders
from bench.jobs.fraud import Fraud
from bench.stream import Stream
from bench.transactions import TRANSACTIONS
from kappa import Count, KeyedProcessor, Source, Sum, Tumbling, WindowedAggregate

LEAST_TIMES = 1.5
"""Two workers beside one, where the work is theirs."""

CATCH_UP = Stream(
    "bench_catch_up",
    orders.ORDERS.schema,
    key=orders.ORDERS.key,
    count=0,
    chunks=orders.chunks,
)
"""Its topic is made anew for every run: a version must be built before its records."""

PAYMENTS = replace(TRANSACTIONS, name="bench_catch_up_payments", count=0)
"""The same, of transactions."""


def revenue(name: str) -> WindowedAggregate:
    """Orders and revenue of each product and minute."""
    return WindowedAggregate(
        name=name,
        version=1,
        source=Source(CATCH_UP.name, event_time="placed_at", out_of_orderness="5s"),
        key=["product"],
        window=Tumbling("1m"),
        allowed_lateness="1m",
        aggregates={"orders": Count(), "revenue": Sum("amount")},
    )


by_one = revenue("bench_scaling_1")
by_two = revenue("bench_scaling_2")
by_four = revenue("bench_scaling_4")
followed = revenue("bench_memory")


class FraudByOne(Fraud):
    """Fraud alerts, for one worker."""

    name = "bench_scaling_fraud_1"
    source = Source(PAYMENTS.name, event_time="at", out_of_orderness="5s")


class FraudByTwo(FraudByOne):
    """The same, for two."""

    name = "bench_scaling_fraud_2"


class FraudByFour(FraudByOne):
    """The same, for four."""

    name = "bench_scaling_fraud_4"


@dataclass(frozen=True)
class Scaled:
    """A job that is caught up on by more and more workers.

    Attributes:
        by: a processor for each number of workers, so that each has everything to catch up on.
        counted: what its view says of how many records it was made of; None where it does not.
        least_times: how many times as fast as one worker two are to be; None where it is not
            their work that takes the time.
    """

    title: str
    stream: Stream
    by: Mapping[int, WindowedAggregate | type[KeyedProcessor]]
    counted: str | None = None
    least_times: float | None = None


SCALED = (
    Scaled(
        "fraud alerts: Python for each record, few rows",
        PAYMENTS,
        {1: FraudByOne, 2: FraudByTwo, 4: FraudByFour},
        least_times=LEAST_TIMES,
    ),
    Scaled(
        "orders by product and minute: merged in PostgreSQL",
        CATCH_UP,
        {1: by_one, 2: by_two, 4: by_four},
        "sum(orders)",
    ),
)
"""Where the work is in the workers, and where much of it is in the database they share."""
