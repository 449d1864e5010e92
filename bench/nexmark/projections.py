"""The queries that look at one bid at a time: 0, 1, 2, 14, 21 and 22.

They are Flink's ``nexmark-flink/src/main/resources/queries/q*.sql``, column by column; names are
in snake case.
"""

from __future__ import annotations

from decimal import Decimal

import polars as pl

from bench.nexmark.topics import BID_TOPIC, OUT_OF_ORDERNESS
from kappa import Projection, Source

_BIDS = Source(BID_TOPIC, event_time="dateTime", out_of_orderness=OUT_OF_ORDERNESS)
_DATE_TIME = pl.col("dateTime").alias("date_time")
_EUROS = (pl.lit(Decimal("0.908")) * pl.col("price")).cast(pl.Decimal(23, 3))
_HOUR = pl.col("dateTime").dt.hour()

q0 = Projection(
    name="nexmark_q0",
    version=1,
    source=_BIDS,
    columns=["auction", "bidder", "price", _DATE_TIME, "extra"],
)
"""Pass through."""

q1 = Projection(
    name="nexmark_q1",
    version=1,
    source=_BIDS,
    columns=["auction", "bidder", _EUROS.alias("price"), _DATE_TIME, "extra"],
)
"""Currency conversion, in exact decimals."""

q2 = Projection(
    name="nexmark_q2",
    version=1,
    source=_BIDS,
    columns=["auction", "price"],
    where=pl.col("auction") % 123 == 0,
)
"""Selection: every 123rd auction."""

q14 = Projection(
    name="nexmark_q14",
    version=1,
    source=_BIDS,
    columns={
        "auction": "auction",
        "bidder": "bidder",
        "price": _EUROS,
        "bid_time_type": pl.when(_HOUR.is_between(8, 18))
        .then(pl.lit("dayTime"))
        .when((_HOUR <= 6) | (_HOUR >= 20))
        .then(pl.lit("nightTime"))
        .otherwise(pl.lit("otherTime")),
        "date_time": "dateTime",
        "extra": "extra",
        "c_counts": pl.col("extra").str.count_matches("c", literal=True).cast(pl.Int64),
    },
    where=_EUROS.is_between(1_000_000, 50_000_000, closed="none"),
)
"""Calculation: the time of day, and how often a letter comes."""

_CHANNEL = pl.col("channel").str.to_lowercase()
_KNOWN = {"apple": "0", "google": "1", "facebook": "2", "baidu": "3"}
_IN_URL = pl.col("url").str.extract(r"(&|^)channel_id=([^&]*)", 2)

q21 = Projection(
    name="nexmark_q21",
    version=1,
    source=_BIDS,
    columns={
        "auction": "auction",
        "bidder": "bidder",
        "price": "price",
        "channel": "channel",
        "channel_id": _CHANNEL.replace_strict(_KNOWN, default=_IN_URL, return_dtype=pl.String),
    },
    where=_CHANNEL.is_in(list(_KNOWN)) | _IN_URL.is_not_null(),
)
"""Add a channel id, by name or out of the address."""

_PARTS = pl.col("url").str.splitn("/", 7)

q22 = Projection(
    name="nexmark_q22",
    version=1,
    source=_BIDS,
    columns={
        "auction": "auction",
        "bidder": "bidder",
        "price": "price",
        "channel": "channel",
        **{f"dir{n}": _PARTS.struct.field(f"field_{n + 2}") for n in (1, 2, 3)},
    },
)
"""Directories of the address."""
