"""Merging records by group, batch after batch, in bounded memory."""

from __future__ import annotations

import polars as pl

from kappa.processing.aggregates.kept import Kept

COMPACT_AT_ROWS = 2_000_000
"""Records held before they are merged; bounds memory between checkpoints."""


class Grouping:
    """Records by group, merged when many have gathered and when they are taken."""

    def __init__(self, group: pl.Schema, kept: Kept) -> None:
        self._group = group
        self._kept = kept
        self._inputs = [e.meta.output_name() for e in kept.lifting()][len(kept.partials) :]
        self._records: list[pl.DataFrame] = []
        self._merged: list[pl.DataFrame] = []

    def hold(self, records: pl.DataFrame) -> None:
        """Adds lifted records with their group's columns."""
        # The usual value is 0 or 1 and the largest possible, or no other sums up to it: see
        # Partial.usual. So the sum tells, and costs next to nothing.
        unusual = [
            p.column
            for p in self._kept.partials
            if not p.internal or records[p.column].sum() != p.usual * len(records)
        ]
        self._records.append(records.select(*self._group, *unusual, *self._inputs))
        if sum(map(len, self._records)) > COMPACT_AT_ROWS:
            self._compact()

    def take(self) -> pl.DataFrame:
        """One row per group held; forgets them.

        An internal partial's column may be missing, see Partial.
        """
        self._compact()
        merged, self._merged = self._merged, []
        if not merged:
            return pl.DataFrame(schema=pl.Schema({**self._group, **self._kept.schema}))
        if len(merged) == 1:
            return merged[0]
        return self._kept.again(self._aligned(merged), list(self._group))

    def _compact(self) -> None:
        if self._records:
            records, self._records = self._aligned(self._records), []
            self._merged.append(self._kept.of_records(records, list(self._group)))
        if sum(map(len, self._merged)) > COMPACT_AT_ROWS:
            self._merged = [self._kept.again(self._aligned(self._merged), list(self._group))]

    def _aligned(self, frames: list[pl.DataFrame]) -> pl.DataFrame:
        """All rows as one frame; a column left out of some holds its usual value there."""
        if all(frame.columns == frames[0].columns for frame in frames):
            return pl.concat(frames)
        joined = pl.concat(frames, how="diagonal")
        partials = [p for p in self._kept.partials if p.internal and p.column in joined.columns]
        return joined.with_columns(pl.col(p.column).fill_null(p.usual) for p in partials)
