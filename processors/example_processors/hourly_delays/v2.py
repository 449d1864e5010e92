"""The repair: cancelled flights are left out of the mean and counted by themselves."""

import polars as pl

from kappa import Count, Max, Mean, Source, Sum, Tumbling, WindowedAggregate

hourly_delays = WindowedAggregate(
    name="hourly_delays",
    version=2,
    source=Source("flights", event_time="scheduled_at", out_of_orderness="1h"),
    key=["origin"],
    window=Tumbling("1h"),
    aggregates={
        "flights": Count(),
        "mean_delay": Mean("departure_delay"),
        "worst_delay": Max("departure_delay"),
        "cancelled": Sum(pl.col("departure_delay").is_null().cast(pl.Int64)),
    },
)
