"""Orders and revenue of each product in the last five minutes, every minute."""

from __future__ import annotations

from collections.abc import Iterator

from bench.jobs.job import Arrived, Job, instant
from bench.orders import ORDERS
from kappa import Count, Hopping, Source, Sum, WindowedAggregate

MINUTE_MS = 60_000
PANES = 5

recent_revenue = WindowedAggregate(
    name="bench_hopping",
    version=1,
    source=Source(ORDERS.topic_here, event_time="placed_at", out_of_orderness="5s"),
    key=["product"],
    window=Hopping("5m", "1m"),
    allowed_lateness="1m",
    aggregates={"orders": Count(), "revenue": Sum("amount")},
)


def by_hand(arrived: Arrived) -> Iterator[str]:
    """A dict of minutes, from which the windows are put together at the end."""
    panes: dict[tuple[str, int], list[float]] = {}
    for _, order in arrived:
        placed_at = order["placed_at"]
        key = (order["product"], placed_at - placed_at % MINUTE_MS)
        pane = panes.get(key)
        if pane is None:
            panes[key] = [1, order["amount"]]
        else:
            pane[0] += 1
            pane[1] += order["amount"]
    windows: dict[tuple[str, int], list[float]] = {}
    for (product, minute), (orders, amount) in panes.items():
        for back in range(PANES):
            window = windows.setdefault((product, minute - back * MINUTE_MS), [0, 0.0])
            window[0] += orders
            window[1] += amount
    for (product, start), (orders, amount) in windows.items():
        yield f"{product}\t{instant(start)}\t{orders:.0f}\t{amount!r}\n"


JOB = Job(
    title="five-minute windows by product, a minute apart",
    stream=ORDERS,
    processor=recent_revenue,
    by_hand=by_hand,
    table="product text, window_start timestamptz, orders bigint, revenue double precision,"
    " PRIMARY KEY (product, window_start)",
    expected="""
        WITH placed AS (
            SELECT product, amount, unnest(generate_series(
                       time_bucket(INTERVAL 1 MINUTE, placed_at) - INTERVAL 4 MINUTE,
                       time_bucket(INTERVAL 1 MINUTE, placed_at),
                       INTERVAL 1 MINUTE)) AS window_start
              FROM records)
        SELECT product, window_start,
               count(*) AS orders, (sum(round(amount * 100)) / 100)::DECIMAL(18, 2) AS revenue
          FROM placed
         GROUP BY ALL
    """,
    target=700_000,
)
