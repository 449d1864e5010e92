"""Orders in a shop, keyed by customer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from bench.stream import Stream

_SCHEMA: dict[str, object] = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "order_id", "type": "long"},
        {"name": "customer", "type": "string"},
        {"name": "product", "type": "string"},
        {"name": "quantity", "type": "int"},
        {"name": "amount", "type": "double"},
        {"name": "currency", "type": "string"},
        {"name": "placed_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}

COUNT = 4_000_000
PRODUCTS = 1_000
CUSTOMERS = 50_000
SEED = 20_130_101

OUT_OF_ORDERNESS_MS = 5_000
_START_MS = 1_700_000_040_000
"""A whole minute, so that the first window is not cut."""
SPACING_MS = 9.9
"""Four million orders in eleven hours: 660 minutes of a thousand products, and one order in
about eight minutes of each customer."""
CHUNK = 200_000


def chunks(count: int) -> Iterator[pl.DataFrame]:
    """The first ``count`` orders.

    Event times are out of order by up to 4.9 s, within OUT_OF_ORDERNESS_MS, so none is late.
    """
    products = pl.Series([f"product-{n:04d}" for n in range(PRODUCTS)])
    customers = pl.Series([f"customer-{n:05d}" for n in range(CUSTOMERS)])
    currencies = pl.Series(["EUR", "USD", "GBP", "CHF"])
    for first in range(0, count, CHUNK):
        size = min(CHUNK, count - first)
        random = np.random.default_rng([SEED, first])
        ids = np.arange(first, first + size)
        placed = _START_MS + np.floor(ids * SPACING_MS) + random.integers(0, 4_900, size)
        yield pl.DataFrame(
            {
                "order_id": ids,
                "customer": customers.gather(random.integers(0, CUSTOMERS, size)),
                "product": products.gather(random.integers(0, PRODUCTS, size)),
                "quantity": random.integers(1, 9, size, dtype=np.int32),
                "amount": random.integers(100, 50_000, size) / 100,
                "currency": currencies.gather(random.integers(0, 4, size)),
                "placed_at": placed.astype(np.int64),
            }
        ).with_columns(pl.col("placed_at").cast(pl.Datetime("ms", "UTC")))


ORDERS = Stream("bench_orders", _SCHEMA, key="customer", count=COUNT, chunks=chunks)
