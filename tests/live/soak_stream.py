"""What the soak publishes, and what must come of it, worked out from the numbers alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

PARTITIONS = 12
KEYS = 240
CHUNK = 1_000
WINDOW_MS = 10_000
SPREAD_MS = 4_000
"""Event times are out of order by less than this."""

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Sale",
    "fields": [
        {"name": "shop", "type": "int"},
        {"name": "cents", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}

PROCESSOR = """
from kappa import Count, Source, Sum, Tumbling, WindowedAggregate

def sales(version):
    return WindowedAggregate(
        name="{name}",
        version=version,
        source=Source("{topic}", event_time="at", out_of_orderness="5s"),
        key=["shop"],
        window=Tumbling("10s"),
        allowed_lateness="10s",
        aggregates={{"sales": Count(), "cents": Sum("cents")}},
    )

first, second = sales(1), sales(2)
"""


class Sales:
    """Sales of a rate, from ``start_ms`` on; the same ones each time they are asked for."""

    def __init__(self, start_ms: int, per_second: int, seed: int) -> None:
        self.start_ms = start_ms
        self._per_second = per_second
        self._seed = seed

    def chunk(self, number: int) -> pl.DataFrame:
        """CHUNK sales. The shop says the partition."""
        dice = np.random.default_rng([self._seed, number])
        ids = np.arange(number * CHUNK, (number + 1) * CHUNK)
        at = self.start_ms + ids * 1_000 // self._per_second - dice.integers(0, SPREAD_MS, CHUNK)
        return pl.DataFrame(
            {
                "shop": dice.integers(0, KEYS, CHUNK, dtype=np.int32),
                "cents": dice.integers(-10_000, 100_000, CHUNK),
                "at": pl.Series(at).cast(pl.Datetime("ms", "UTC")),
            }
        )

    def expected(self, chunks: int) -> dict[tuple[int, int], tuple[int, int]]:
        """By shop and window start in ms: how many sales, and their cents."""
        return dict(self._cells(chunks))

    def _cells(self, chunks: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        first = (self.start_ms - SPREAD_MS) // WINDOW_MS
        last = (self.start_ms + chunks * CHUNK * 1_000 // self._per_second) // WINDOW_MS
        sums: npt.NDArray[np.int64] = np.zeros((2, (last - first + 1) * KEYS), np.int64)
        for number in range(chunks):
            sales = self.chunk(number)
            window = sales["at"].dt.epoch("ms").to_numpy() // WINDOW_MS - first
            cell = window * KEYS + sales["shop"].to_numpy()
            np.add.at(sums[0], cell, 1)
            np.add.at(sums[1], cell, sales["cents"].to_numpy())
        for cell in np.flatnonzero(sums[0]).tolist():
            window, shop = divmod(cell, KEYS)
            yield (shop, (first + window) * WINDOW_MS), (int(sums[0, cell]), int(sums[1, cell]))
