"""What folds read back of their own version, from PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import polars as pl
from sqlalchemy import Engine

from kappa.processing.store import StoredState
from kappa.tables import state
from kappa.tables.layout import Layout
from kappa.tables.open_rows import open_rows


class PostgresStore:
    """The committed rows and states of one version; a connection of its own for each question."""

    def __init__(self, engine: Engine, layout: Layout) -> None:
        self._engine = engine
        self._layout = layout

    def open_rows(self, partition: int, ends_after: int, schema: pl.Schema) -> pl.DataFrame:
        """See kappa.processing.store.Store."""
        with self._engine.connect() as connection:
            return open_rows(connection, self._layout, partition, ends_after, schema)

    def states(
        self,
        partition: int,
        keys: Collection[str],
        event_through: int | None,
        processing_through: int | None,
    ) -> Sequence[StoredState]:
        """See kappa.processing.store.Store."""
        with self._engine.connect() as connection:
            found = state.states(
                connection, self._layout, partition, keys, event_through, processing_through
            )
        return [StoredState(*row) for row in found]

    def every_state(self, partition: int, most: int) -> Sequence[StoredState] | None:
        """See kappa.processing.store.Store."""
        with self._engine.connect() as connection:
            found = state.every_state(connection, self._layout, partition, most)
        return None if found is None else [StoredState(*row) for row in found]
