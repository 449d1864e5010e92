"""Money taken from accounts, keyed by account; some of it by thieves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from bench.stream import Stream

_SCHEMA = Path(__file__).parents[1] / "schemas" / "transaction.avsc"
"""That of the example processor."""

COUNT = 4_000_000
ACCOUNTS = 100_000
SEED = 20_130_102

SMALL_SHARE, LARGE_SHARE = 0.01, 0.02
"""Of amounts under 1.00, and over 500.00."""

OUT_OF_ORDERNESS_MS = 5_000
_START_MS = 1_700_000_000_000
_SPACING_MS = 0.5
"""Four million in 33 minutes, one in about 50 s of each account: after two small ones in three
the account has another transaction within the minute, and every timer but the last ones fires."""
CHUNK = 200_000


def chunks(count: int) -> Iterator[pl.DataFrame]:
    """The first ``count`` transactions, out of order by up to 4.9 s."""
    accounts = pl.Series([f"account-{n:06d}" for n in range(ACCOUNTS)])
    for first in range(0, count, CHUNK):
        size = min(CHUNK, count - first)
        random = np.random.default_rng([SEED, first])
        ids = np.arange(first, first + size)
        at = _START_MS + np.floor(ids * _SPACING_MS) + random.integers(0, 4_900, size)
        yield pl.DataFrame(
            {
                "account_id": accounts.gather(random.integers(0, ACCOUNTS, size)),
                "amount": _cents(random, size) / 100,
                "at": at.astype(np.int64),
            }
        ).with_columns(pl.col("at").cast(pl.Datetime("ms", "UTC")))


def _cents(random: np.random.Generator, size: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Small, usual and large amounts; 1.00 and 500.00 are usual ones."""
    drawn = random.random(size)
    return np.select(
        [drawn < SMALL_SHARE, drawn < SMALL_SHARE + LARGE_SHARE],
        [random.integers(1, 100, size), random.integers(50_001, 500_000, size)],
        random.integers(100, 50_001, size),
    )


TRANSACTIONS = Stream(
    "bench_transactions",
    json.loads(_SCHEMA.read_text()),
    key="account_id",
    count=COUNT,
    chunks=chunks,
    stamped_by="at",
)
