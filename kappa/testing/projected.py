"""Projections, tried out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from kappa.eventtime.watermark import PartitionClock
from kappa.processing.admission import anything
from kappa.processing.events import Fold, Outcome
from kappa.processing.projection import POSITION, BoundProjection
from kappa.processing.source import Source
from kappa.testing.kinds import Passing, Shown, clock_only
from kappa.testing.tables import Rows, Tables, appended, latest


@dataclass(frozen=True, eq=False)
class ProjectionKind:
    """A row per record, or the latest row per key."""

    bound: BoundProjection
    columns: pl.Schema

    @property
    def source(self) -> Source:
        return self.bound.declaration.source

    @property
    def record_key(self) -> str | None:
        return self.bound.declaration.latest_by

    def tables(self) -> Tables:
        key = self.bound.key
        return Tables(Rows(appended(list(POSITION)) if key is None else latest([key])))

    def fold(self, tables: Tables) -> Fold:
        return self.bound.fold(anything, tables)

    def passed(self, fold: Fold, passing: Passing, clock: PartitionClock) -> Outcome:
        return clock_only(fold, self.source, self.columns, passing, clock)

    def final_through(self, clocks: Mapping[int, PartitionClock]) -> int | None:
        return None

    def shown(self, tables: Tables, final_through: int | None) -> Shown:
        rows = tables.rows.present()
        if rows.is_empty():
            return []
        key = self.bound.key
        ordered = rows.sort(list(POSITION) if key is None else key)
        return ordered.select(list(self.bound.types)).to_dicts()
