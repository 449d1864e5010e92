"""Orders and revenue of each customer's visits: orders less than a quarter of an hour apart."""

from __future__ import annotations

from collections.abc import Iterator

from bench.jobs.job import Arrived, Job, instant
from bench.orders import ORDERS
from kappa import Count, Session, Source, Sum, WindowedAggregate

GAP_MS = 15 * 60_000

visits = WindowedAggregate(
    name="bench_sessions",
    version=1,
    source=Source(ORDERS.topic_here, event_time="placed_at", out_of_orderness="5s"),
    key=["customer"],
    window=Session("15m"),
    allowed_lateness="1m",
    aggregates={"orders": Count(), "revenue": Sum("amount")},
)

_Visit = list[float]
"""First order and last order in ms, how many there are, and their amount."""


def by_hand(arrived: Arrived) -> Iterator[str]:
    """A dict of visits; only the last of a customer is still open.

    That is enough because orders are out of order by less than the gap: an order can lie before
    the last visit, and close the gap to the one before, but not be of that one alone.
    """
    visits: dict[str, list[_Visit]] = {}
    for _, order in arrived:
        placed_at, amount = order["placed_at"], order["amount"]
        of_customer = visits.get(order["customer"])
        if of_customer is None:
            visits[order["customer"]] = [[placed_at, placed_at, 1, amount]]
            continue
        visit = of_customer[-1]
        if placed_at >= visit[1] + GAP_MS:
            of_customer.append([placed_at, placed_at, 1, amount])
            continue
        visit[2] += 1
        visit[3] += amount
        if placed_at > visit[1]:
            visit[1] = placed_at
        elif placed_at < visit[0]:
            visit[0] = placed_at
            if len(of_customer) > 1 and placed_at < of_customer[-2][1] + GAP_MS:
                _join(of_customer)
    for customer, of_customer in visits.items():
        for first, last, orders, amount in of_customer:
            span = f"{instant(int(first))}\t{instant(int(last) + GAP_MS)}"
            yield f"{customer}\t{span}\t{orders:.0f}\t{amount!r}\n"


def _join(visits: list[_Visit]) -> None:
    """Makes one of the last two."""
    _, last, orders, amount = visits.pop()
    visits[-1][1] = last
    visits[-1][2] += orders
    visits[-1][3] += amount


JOB = Job(
    title="sessions by customer, 15 minutes apart",
    stream=ORDERS,
    processor=visits,
    by_hand=by_hand,
    table="customer text, window_start timestamptz, window_end timestamptz, orders bigint,"
    " revenue double precision, PRIMARY KEY (customer, window_start)",
    expected="""
        WITH begun AS (
            SELECT *, coalesce(
                       placed_at - lag(placed_at) OVER own >= INTERVAL 15 MINUTE, true) AS begins
              FROM records
            WINDOW own AS (PARTITION BY customer ORDER BY placed_at, line)),
        numbered AS (
            SELECT *, count(*) FILTER (WHERE begins) OVER own AS number
              FROM begun
            WINDOW own AS (PARTITION BY customer ORDER BY placed_at, line))
        SELECT customer, min(placed_at) AS window_start,
               max(placed_at) + INTERVAL 15 MINUTE AS window_end,
               count(*) AS orders, (sum(round(amount * 100)) / 100)::DECIMAL(18, 2) AS revenue
          FROM numbered
         GROUP BY customer, number
    """,
    target=500_000,
)
