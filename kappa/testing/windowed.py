"""Windowed aggregates, tried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from kappa.eventtime.sessions import Session
from kappa.eventtime.watermark import PartitionClock
from kappa.processing.admission import EARLIEST_MS, anything
from kappa.processing.aggregates.declared import SqlMerged
from kappa.processing.aggregates.remerge import Remerge
from kappa.processing.events import Fold, Outcome
from kappa.processing.expressions import INSTANT
from kappa.processing.source import Source
from kappa.processing.windowed.checks import WINDOW_COLUMNS
from kappa.processing.windowed.declaration import BoundWindowedAggregate
from kappa.processing.windowed.sessionfold import FOUNDER
from kappa.testing.kinds import Passing, Shown, clock_only
from kappa.testing.tables import Rows, Tables, latest


@dataclass(frozen=True, eq=False)
class WindowedKind:
    """A row per key and window."""

    bound: BoundWindowedAggregate
    columns: pl.Schema
    record_key: str | None

    @staticmethod
    def of(
        bound: BoundWindowedAggregate, columns: pl.Schema, record_key: str | None
    ) -> WindowedKind:
        """``record_key`` is the topic's; None: the column of the key that has to be it."""
        if record_key is None and bound.record_key is not None:
            record_key = bound.keys[bound.record_key].meta.undo_aliases().meta.output_name()
        return WindowedKind(bound, columns, record_key)

    @property
    def source(self) -> Source:
        return self.bound.declaration.source

    def tables(self) -> Tables:
        if isinstance(self.bound.declaration.window, Session):
            return Tables(
                Rows(latest([*self.bound.key_types, "window_start", "_partition", FOUNDER]))
            )
        key = {**self.bound.key_types, **dict.fromkeys(self._when, INSTANT)}
        return Tables(Rows(Remerge(key, self.bound.kept)))

    def fold(self, tables: Tables) -> Fold:
        return self.bound.fold(anything, tables)

    def passed(self, fold: Fold, passing: Passing, clock: PartitionClock) -> Outcome:
        return clock_only(fold, self.source, self.columns, passing, clock)

    def final_through(self, clocks: Mapping[int, PartitionClock]) -> int | None:
        times = [c.max_event_time for c in clocks.values() if c.max_event_time is not None]
        declared = self.bound.declaration
        if not times or declared.window is None:
            return None
        watermark = min(times) - declared.source.out_of_orderness_ms
        return max(watermark - declared.allowed_lateness_ms, EARLIEST_MS)

    def shown(self, tables: Tables, final_through: int | None) -> Shown:
        rows = tables.rows.present()
        if self.bound.declaration.emit == "final" and len(rows):
            rows = rows.filter(pl.col("window_end").to_physical() <= final_through)
        if rows.is_empty():
            return []
        values = self._values()
        return [
            {name: value(row) for name, value in values.items()}
            for row in rows.sort([*self.bound.key_types, *self._when]).iter_rows(named=True)
        ]

    @property
    def _when(self) -> tuple[str, ...]:
        """The columns that say which window a row is of."""
        return () if self.bound.declaration.window is None else WINDOW_COLUMNS

    def _values(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """How each column of the view comes from a row of the table."""
        plain = [*self.bound.key_types, *self._when]
        values = {name: _column(name) for name in plain}
        for name, aggregate in self.bound.declaration.aggregates.items():
            if isinstance(aggregate, SqlMerged):
                values[name] = aggregate.shown(name, self.bound.input_types[name]).value
            else:
                values[name] = _column(name)
        return values


def _column(name: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda row: row[name]
