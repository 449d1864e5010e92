"""The queries that fold bids: 7, 17 and 18.

They are Flink's ``nexmark-flink/src/main/resources/queries/q*.sql`` with one row per group where
those leave open which: of a window's bids of the highest price, and of a bidder's bids of the
latest moment, it is the last by event time, then partition, then offset.
"""

from __future__ import annotations

import polars as pl

from bench.nexmark.topics import BID_TOPIC, OUT_OF_ORDERNESS
from kappa import (
    ArgMax,
    Count,
    Last,
    Max,
    Mean,
    Min,
    Source,
    Sum,
    Tumbling,
    WindowedAggregate,
)

_BIDS = Source(BID_TOPIC, event_time="dateTime", out_of_orderness=OUT_OF_ORDERNESS)
_PRICE = pl.col("price")

q7 = WindowedAggregate(
    name="nexmark_q7",
    version=1,
    source=_BIDS,
    key=[],
    window=Tumbling("10s"),
    aggregates={
        "auction": ArgMax("auction", by="price"),
        "bidder": ArgMax("bidder", by="price"),
        "price": Max("price"),
        "date_time": ArgMax("dateTime", by="price"),
        "extra": ArgMax("extra", by="price"),
    },
)
"""Highest bid of every ten seconds; the published query has every bid of that price."""

q17 = WindowedAggregate(
    name="nexmark_q17",
    version=1,
    source=_BIDS,
    key=["auction"],
    window=Tumbling("1d"),
    aggregates={
        "total_bids": Count(),
        "rank1_bids": Count(where=_PRICE < 10_000),
        "rank2_bids": Count(where=(_PRICE >= 10_000) & (_PRICE < 1_000_000)),
        "rank3_bids": Count(where=_PRICE >= 1_000_000),
        "min_price": Min("price"),
        "max_price": Max("price"),
        "avg_price": Mean("price"),
        "sum_price": Sum("price"),
    },
)
"""Auction statistics of every day; the mean is a double, the published one a whole number."""

q18 = WindowedAggregate(
    name="nexmark_q18",
    version=1,
    source=_BIDS,
    key=["auction", "bidder"],
    window=None,
    aggregates={
        "price": Last("price"),
        "channel": Last("channel"),
        "url": Last("url"),
        "date_time": Last("dateTime"),
        "extra": Last("extra"),
    },
)
"""The last bid of every bidder in every auction."""
