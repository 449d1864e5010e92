"""Records applied to a window after it was final.

Its partition had been silent, or had no records before: it held nothing back while the others
passed the window. Or readers have seen the window as final in a former version that waited less.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from kappa.processing.aggregates.partials import Merge, Partial

APPLIED = "@applied"
"""How many records went into a row since the last flush. Which of them are corrections shows when
they are committed."""

ENDED = "@ended"
"""The earliest end of the sessions that a flushed row was made of; null for a new one."""

CORRECTIONS = "_corrections"
"""The hidden column of how many of a row's records were corrections."""

COUNTED = Partial(APPLIED, pl.Int64(), Merge.SUM, pl.lit(1, pl.Int64), internal=True)

MARK = Partial(CORRECTIONS, pl.Int64(), Merge.SUM, pl.lit(0, pl.Int64))
"""Zero in what a fold flushes."""


def with_corrections(rows: pl.DataFrame, final_through: datetime | None) -> pl.DataFrame:
    """Flushed rows as they are stored when windows up to then are final; None: none is."""
    applied = pl.when(_is_final(rows, final_through)).then(APPLIED).otherwise(0)
    return rows.with_columns(applied.alias(CORRECTIONS))


def corrected(rows: pl.DataFrame, final_through: datetime | None) -> pl.DataFrame:
    """Those flushed rows that readers see differently than before: they are final, or were."""
    return rows.filter(_is_final(rows, final_through))


def _is_final(rows: pl.DataFrame, final_through: datetime | None) -> pl.Expr:
    through = pl.lit(final_through, rows.schema["window_end"])
    final = pl.col("window_end") <= through
    return final | (pl.col(ENDED) <= through) if ENDED in rows.columns else final
