"""Merging rows of one key, as they are stored, where PostgreSQL cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from kappa.processing.aggregates.kept import Kept


@dataclass(frozen=True, eq=False)
class Remerge:
    """Merges parts of rows.

    Attributes:
        key: the columns that rows of one key have in common, with their types.
        kept: what their aggregates keep.
    """

    key: Mapping[str, pl.DataType]
    kept: Kept

    @cached_property
    def schema(self) -> pl.Schema:
        """The columns and types in which rows are to be read."""
        return pl.Schema({**self.key, **self.kept.stored_schema})

    def __call__(self, rows: pl.DataFrame) -> pl.DataFrame:
        """One row per key of ``rows`` (``schema``), in the table's columns."""
        parts = pl.concat([rows.select(*self.key), self.kept.restored(rows)], how="horizontal")
        merged = self.kept.again(parts, list(self.key))
        return pl.concat([merged.select(*self.key), self.kept.stored(merged)], how="horizontal")
