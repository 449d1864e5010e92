"""Records applied to a window after it was final, brought by a partition that had been silent."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from kappa.processing.aggregates.partials import Merge, Partial

CORRECTIONS = "_corrections"
"""The hidden column of how many of a row's records were corrections. A fold flushes how many
records a row has; which of them are corrections shows when they are committed."""

PARTIAL = Partial(CORRECTIONS, pl.Int64(), Merge.SUM, pl.lit(1, pl.Int64))


def with_corrections(rows: pl.DataFrame, final_through: datetime) -> pl.DataFrame:
    """Flushed rows (with ``window_end``) as they are stored when windows up to then are final."""
    final = pl.col("window_end") <= final_through
    return rows.with_columns(pl.when(final).then(CORRECTIONS).otherwise(0).alias(CORRECTIONS))


def without_corrections(rows: pl.DataFrame) -> pl.DataFrame:
    """Flushed rows as they are stored while nothing is final."""
    if CORRECTIONS not in rows.columns:
        return rows
    return rows.with_columns(pl.lit(0, pl.Int64).alias(CORRECTIONS))
