"""The job as a kappa processor."""

from __future__ import annotations

import os

from kappa import Count, Source, Sum, Tumbling, WindowedAggregate

TOPIC = os.environ.get("KAPPA_BENCH_TOPIC", "bench_orders")
"""Another topic for a measurement with fewer records."""

revenue = WindowedAggregate(
    name="bench_revenue",
    version=1,
    source=Source(TOPIC, event_time="placed_at", out_of_orderness="5s"),
    key=["product"],
    window=Tumbling("1m"),
    allowed_lateness="1m",
    aggregates={"orders": Count(), "revenue": Sum("amount")},
)
