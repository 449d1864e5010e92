"""The example: a tiny transaction, then a large one within a minute."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from example_processors.fraud_alerts.v1 import FraudDetector
from kappa.avro.columns import polars_schema
from kappa.avro.schema import parse
from kappa.eventtime.watermark import PartitionClock
from kappa.processing.admission import anything
from kappa.processing.store import NothingStored
from tests.unit.keyed_driver import batch

SCHEMA = polars_schema(
    parse((Path(__file__).parents[2] / "schemas" / "transaction.avsc").read_text())
)
NOON = 1_704_110_400_000

Payment = tuple[str, float, float]
"""Account, amount, seconds after noon."""


def alerts(*payments: Payment) -> list[tuple[str, float, float]]:
    """Who was alerted about what, and how many seconds after noon."""
    times = [NOON + int(seconds * 1_000) for _, _, seconds in payments]
    frame = pl.DataFrame(
        {
            "account_id": [account for account, _, _ in payments],
            "amount": [amount for _, amount, _ in payments],
            "at": pl.Series(times).cast(pl.Datetime("ms", "UTC")),
            "@partition": pl.Series([0 for _ in payments], dtype=pl.Int32),
            "@offset": range(len(payments)),
            "@timestamp": times,
            "@key": [account.encode() for account, _, _ in payments],
        }
    )
    fold = FraudDetector().bind(SCHEMA, (), "account_id").fold(anything, NothingStored())
    outcome = fold.apply(batch(0, frame), PartitionClock())
    assert outcome.dead.is_empty()
    rows = fold.flush().rows.with_columns(pl.col("at").dt.timestamp("ms") - NOON)
    return [(row[0], row[1], row[2] / 1_000) for row in rows.iter_rows()]


@pytest.mark.parametrize(
    ("payments", "alerted"),
    [
        ([("a", 0.5, 0), ("a", 600.0, 59)], [("a", 600.0, 59)]),
        ([("a", 0.5, 0), ("a", 600.0, 60)], []),
        ([("a", 0.5, 0), ("a", 600.0, 61)], []),
        ([("a", 0.5, 0), ("b", 600.0, 1)], []),
        ([("a", 1.0, 0), ("a", 600.0, 1)], []),
        ([("a", 0.5, 0), ("a", 500.0, 1)], []),
        ([("a", 600.0, 0), ("a", 0.5, 1)], []),
        ([("a", 0.5, 0), ("a", 0.5, 30), ("a", 600.0, 89)], [("a", 600.0, 89)]),
    ],
)
def test_alerts(payments: list[Payment], alerted: list[tuple[str, float, float]]) -> None:
    assert alerts(*payments) == alerted
