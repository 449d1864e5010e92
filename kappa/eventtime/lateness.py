"""When a record comes too late for its window."""

from __future__ import annotations

import polars as pl


def overdue(window_end: pl.Series, watermark: pl.Series, allowed_lateness: int) -> pl.Series:
    """By how many ms the watermark has passed the moment each window was closed.

    A window closes when its partition's watermark reaches its end plus the allowed lateness;
    a record whose window is closed (zero or more) is late, below zero it is in time.
    """
    return watermark - (window_end + allowed_lateness)
