"""Visitors of a site, and a processor that counts the visits of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from bench.stream import Stream
from kappa import Context, KeyedProcessor, Source, ValueState

COUNT = 10_000_000
_CHUNK = 200_000
_STEP = 2**31 - 1
"""A prime: steps of it, modulo a number it does not divide, reach every number once."""


def chunks(count: int) -> Iterator[pl.DataFrame]:
    """A visit of each of ``count`` visitors, who come in no order."""
    for first in range(0, count, _CHUNK):
        numbers = np.arange(first, min(first + _CHUNK, count)) * _STEP % count
        yield pl.select(visitor(pl.lit(pl.Series(numbers))))


def visitor(number: pl.Expr) -> pl.Expr:
    """The name of a visitor as the column ``visitor``."""
    return pl.format("visitor-{}", number.cast(pl.String).str.zfill(8)).alias("visitor")


VISITS = Stream(
    "bench_visits",
    {"type": "record", "name": "Visit", "fields": [{"name": "visitor", "type": "string"}]},
    key="visitor",
    count=COUNT,
    chunks=chunks,
)


class Returns(KeyedProcessor):
    """Counts each visitor's visits and tells of those who come again."""

    name, version = "bench_state", 1
    source = Source(VISITS.topic_here)
    key = "visitor"
    columns = ()
    output = pl.Schema({"visitor": pl.String(), "visits": pl.Int64()})

    visits = ValueState(int)

    def on_event(self, event: Any, ctx: Context) -> None:
        visits = (self.visits.get() or 0) + 1
        self.visits.set(visits)
        if visits > 1:
            ctx.emit(visitor=ctx.key, visits=visits)
