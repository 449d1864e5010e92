"""Orders that are published while versions follow them, and processors that do."""

from __future__ import annotations

from bench import orders
from bench.stream import Stream
from kappa import Count, Source, Sum, Tumbling, WindowedAggregate

CATCH_UP = Stream(
    "bench_catch_up",
    orders.ORDERS.schema,
    key=orders.ORDERS.key,
    count=0,
    chunks=orders.chunks,
)
"""Its topic is made anew for every run: a version must be built before its records."""


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

SCALED = {1: by_one, 2: by_two, 4: by_four}
"""One for each number of workers, so that each has everything to catch up on."""
