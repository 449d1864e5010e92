"""The first attempt: a cancelled flight has no delay, so it counts as on time."""

import polars as pl

from kappa import Count, Max, Mean, Source, Tumbling, WindowedAggregate

hourly_delays = WindowedAggregate(
    name="hourly_delays",
    version=1,
    source=Source("flights", event_time="scheduled_at", out_of_orderness="1h"),
    key=["origin"],
    window=Tumbling("1h"),
    aggregates={
        "flights": Count(),
        "mean_delay": Mean(pl.col("departure_delay").fill_null(0)),
        "worst_delay": Max("departure_delay"),
    },
)
