"""What is kept of a group of records: partials of both sorts, as one set of columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from kappa.processing.aggregates.partials import (
    Merge,
    Partial,
    merging,
    settle,
    stored_dtype,
    unsettle,
)
from kappa.processing.aggregates.worker_merged import (
    RANK,
    MergedColumn,
    merged_by_group,
    partials_by_group,
    with_results,
)


@dataclass(frozen=True)
class Kept:
    """The columns that aggregates keep per group.

    Attributes:
        partials: those that Polars merges here and PostgreSQL merges there.
        merged: the aggregates whose partials, as bytes, only a worker merges.
        rank: a record's place in time.
    """

    partials: Sequence[Partial]
    merged: Sequence[MergedColumn]
    rank: pl.Expr

    @cached_property
    def schema(self) -> pl.Schema:
        """Between flushes."""
        partials = {p.column: p.dtype for p in self.partials}
        return pl.Schema({**partials, **{c.partial: pl.Binary() for c in self.merged}})

    @cached_property
    def stored_schema(self) -> pl.Schema:
        """What is read back of a row that was flushed, see ``restored``."""
        partials = {p.column: stored_dtype(p) for p in self.partials if not p.internal}
        return pl.Schema({**partials, **{c.partial: pl.Binary() for c in self.merged}})

    def lifting(self) -> list[pl.Expr]:
        """What is worked out of each record."""
        lifted = [p.lift.cast(p.dtype).alias(p.column) for p in self.partials]
        inputs = [e.alias(name) for c in self.merged for name, e in c.inputs.items()]
        ranked = any(column.ranked for column in self.merged)
        return [*lifted, *inputs, *([self.rank.alias(RANK)] if ranked else [])]

    @property
    def picked(self) -> list[str]:
        """The columns that hold values of records as they are: the table must be able to."""
        return [p.column for p in self.partials if p.merge is not Merge.SUM]

    def of_records(self, records: pl.DataFrame, group: Sequence[str]) -> pl.DataFrame:
        """One row per group of lifted records."""
        merged = self._by_polars(records, group)
        if not self.merged:
            return merged
        return _beside(merged, partials_by_group(records, group, self.merged), group)

    def again(self, rows: pl.DataFrame, group: Sequence[str]) -> pl.DataFrame:
        """One row per group of rows that are merged already."""
        merged = self._by_polars(rows, group)
        if not self.merged:
            return merged
        return _beside(merged, merged_by_group(rows, group, self.merged), group)

    def stored(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The table's columns of merged rows."""
        settled = settle(rows, self.partials)
        if not self.merged:
            return settled
        results = with_results(rows, self.merged)
        names = [name for c in self.merged for name in (c.partial, c.name)]
        return pl.concat([settled, results.select(names)], how="horizontal")

    def restored(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows that merge again, of rows read back."""
        partials = unsettle(rows, self.partials)
        merged = rows.select(column.partial for column in self.merged)
        return pl.concat([partials, merged], how="horizontal")

    def _by_polars(self, rows: pl.DataFrame, group: Sequence[str]) -> pl.DataFrame:
        """Partials whose column is missing (see Partial) are left out."""
        merged = [merging(p) for p in self.partials if p.column in rows.columns]
        return rows.lazy().group_by(list(group)).agg(merged).collect(engine="streaming")


def _beside(left: pl.DataFrame, right: pl.DataFrame, group: Sequence[str]) -> pl.DataFrame:
    return left.join(right, on=list(group), how="left", nulls_equal=True)
