"""The tables of one version, in memory: what PostgreSQL would hold after each commit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import polars as pl

from kappa.errors import DataRefused
from kappa.processing.events import Changes
from kappa.processing.store import StoredState
from kappa.testing.states import States

Merging = Callable[[pl.DataFrame], pl.DataFrame]
"""Rows as they are stored, some of one key, to one row per key."""


def appended(key: Sequence[str]) -> Merging:
    """Every row stays; its key is the place it comes from.

    Raises (when it is called):
        DataRefused: two rows have one key.
    """

    def merged(rows: pl.DataFrame) -> pl.DataFrame:
        _require_unique(rows, key)
        return rows

    return merged


def latest(key: Sequence[str]) -> Merging:
    """Of each key the row with the greatest ``_offset`` stays, unless it says ``_deleted``.

    Raises (when it is called):
        DataRefused: two rows of a key have one offset, so that neither is the latest.
    """

    def merged(rows: pl.DataFrame) -> pl.DataFrame:
        _require_unique(rows, [*key, "_offset"])
        return rows.sort("_offset").unique(key, keep="last", maintain_order=True)

    return merged


class Rows:
    """A table whose rows are merged when somebody looks."""

    def __init__(self, merged: Merging) -> None:
        self._merged = merged
        self._parts: list[pl.DataFrame] = []
        self._is_merged = True

    def write(self, rows: pl.DataFrame) -> None:
        if len(rows) or not self._parts:
            self._parts.append(_as_stored(rows))
            self._is_merged = False

    def frame(self) -> pl.DataFrame:
        """One row per key; deleted ones too, where ``_deleted`` marks them."""
        if not self._is_merged:
            self._parts = [_as_stored(self._merged(pl.concat(self._parts)))]
            self._is_merged = True
        return self._parts[0] if self._parts else pl.DataFrame()

    def present(self) -> pl.DataFrame:
        """One row per key that is not deleted."""
        rows = self.frame()
        return rows.filter(~pl.col("_deleted")) if "_deleted" in rows.columns else rows


@dataclass
class Tables:
    """All tables of one version; folds read them back as from a store.

    Attributes:
        rows: the main table.
        sides: the tables of side outputs.
        late, dead: late records and dead letters as they came.
        state: what keys remember.
    """

    rows: Rows
    late: list[pl.DataFrame] = field(default_factory=list)
    dead: list[pl.DataFrame] = field(default_factory=list)
    sides: dict[str, Rows] = field(default_factory=dict)
    state: States = field(default_factory=States)

    def commit(self, changes: Changes, dead: Sequence[pl.DataFrame]) -> None:
        """Takes in what a fold flushed, and dead letters.

        Raises:
            DataRefused: the rows could not be stored.
        """
        self.rows.write(changes.rows)
        if changes.late is not None and len(changes.late):
            self.late.append(changes.late)
        self.dead += dead
        for name, rows in changes.sides.items():
            self.sides[name].write(rows)
        if changes.state is not None:
            self.state.write(changes.state)

    def open_rows(self, partition: int, ends_after: int, schema: pl.Schema) -> pl.DataFrame:
        """See kappa.processing.store.Store."""
        rows = self.rows.present()
        if rows.is_empty():
            return schema.to_frame()
        is_open = pl.col("window_end").dt.epoch("ms") > ends_after
        mine = rows.filter(is_open & (pl.col("_partition") == partition))
        return mine.select(pl.col(name).cast(dtype) for name, dtype in schema.items())

    def states(
        self,
        partition: int,
        keys: Collection[str],
        event_through: int | None,
        processing_through: int | None,
    ) -> Sequence[StoredState]:
        """See kappa.processing.store.Store."""
        return self.state.states(partition, keys, event_through, processing_through)

    def every_state(self, partition: int, most: int) -> Sequence[StoredState] | None:
        """See kappa.processing.store.Store."""
        return self.state.every_state(partition, most)


PLACE = ("_partition", "_offset", "_index")
"""The key of rows that records emitted: the record, and a number among its rows."""


def _as_stored(rows: pl.DataFrame) -> pl.DataFrame:
    """As a table gives rows back: its columns alone, numbers of more than 64 bits as text."""
    rows = rows.select(pl.exclude("^@.*$"))
    wide = [name for name, dtype in rows.schema.items() if dtype == pl.Int128]
    return rows.with_columns(pl.col(wide).cast(pl.String)) if wide else rows


def _require_unique(rows: pl.DataFrame, key: Sequence[str]) -> None:
    twice = rows.select(key).is_duplicated() if len(rows) > 1 else pl.Series([False])
    if twice.any():
        raise DataRefused(
            "two rows have one key", key=rows.select(key).filter(twice).row(0, named=True)
        )
