"""Orders and revenue of each product and minute."""

from __future__ import annotations

from collections.abc import Iterator

from bench.jobs.job import Arrived, Job, instant
from bench.orders import ORDERS
from kappa import Count, Source, Sum, Tumbling, WindowedAggregate

MINUTE_MS = 60_000

revenue = WindowedAggregate(
    name="bench_tumbling",
    version=1,
    source=Source(ORDERS.topic_here, event_time="placed_at", out_of_orderness="5s"),
    key=["product"],
    window=Tumbling("1m"),
    allowed_lateness="1m",
    aggregates={"orders": Count(), "revenue": Sum("amount")},
)


def by_hand(arrived: Arrived) -> Iterator[str]:
    """A dict of windows."""
    windows: dict[tuple[str, int], list[float]] = {}
    for _, order in arrived:
        placed_at = order["placed_at"]
        key = (order["product"], placed_at - placed_at % MINUTE_MS)
        window = windows.get(key)
        if window is None:
            windows[key] = [1, order["amount"]]
        else:
            window[0] += 1
            window[1] += order["amount"]
    for (product, start), (orders, amount) in windows.items():
        yield f"{product}\t{instant(start)}\t{orders:.0f}\t{amount!r}\n"


JOB = Job(
    title="one-minute windows by product",
    stream=ORDERS,
    processor=revenue,
    by_hand=by_hand,
    table="product text, window_start timestamptz, orders bigint, revenue double precision,"
    " PRIMARY KEY (product, window_start)",
    expected="""
        SELECT product, time_bucket(INTERVAL 1 MINUTE, placed_at) AS window_start,
               count(*) AS orders, (sum(round(amount * 100)) / 100)::DECIMAL(18, 2) AS revenue
          FROM records
         GROUP BY ALL
    """,
    target=1_200_000,
)
