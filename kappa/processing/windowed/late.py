"""Rows of the late table: records that came when all they belong to was closed."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from kappa.processing.expressions import INSTANT


def late_rows(
    frame: pl.DataFrame, topic: str, partition: pl.Expr, verdict: str, keys: Sequence[str]
) -> pl.DataFrame:
    """``frame`` holds late records: ``@offset``, ``@event_time``, ``@watermark``, ``@by``, keys.

    ``verdict`` says what was closed, ``@by`` for how many ms of event time it had been.
    """
    return frame.select(
        pl.lit(topic).alias("_topic"),
        partition.cast(pl.Int32).alias("_partition"),
        pl.col("@offset").alias("_offset"),
        pl.col("@event_time").cast(INSTANT).alias("_event_time"),
        pl.col("@watermark").cast(INSTANT).alias("_watermark"),
        pl.col("@by").alias("_late_by_ms"),
        pl.lit(verdict).alias("_verdict"),
        *keys,
    )
