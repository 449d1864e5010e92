"""What keyed processors remember, in memory: what PostgreSQL's table of states would hold."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import polars as pl

from kappa.processing.store import StoredState


class States:
    """Committed states, found as in kappa.processing.store.Store.

    Attributes:
        rows: by partition and key.
    """

    def __init__(self) -> None:
        self.rows: dict[tuple[int, str], StoredState] = {}

    def write(self, changed: pl.DataFrame) -> None:
        """Commits what changed of the state of keys (STATE_SCHEMA)."""
        for partition, key, state, event_timer, processing_timer in changed.iter_rows():
            if state is None:
                self.rows.pop((partition, key), None)
            else:
                self.rows[partition, key] = StoredState(key, state, event_timer, processing_timer)

    def states(
        self,
        partition: int,
        keys: Collection[str],
        event_through: int | None,
        processing_through: int | None,
    ) -> Sequence[StoredState]:
        """See kappa.processing.store.Store."""
        wanted = frozenset(keys)
        return [
            stored
            for (owner, key), stored in self.rows.items()
            if owner == partition
            and (
                key in wanted
                or _due(stored.event_timer, event_through)
                or _due(stored.processing_timer, processing_through)
            )
        ]

    def every_state(self, partition: int, most: int) -> Sequence[StoredState] | None:
        """See kappa.processing.store.Store."""
        found = [stored for (owner, _), stored in self.rows.items() if owner == partition]
        return found if len(found) <= most else None


def _due(timer: int | None, through: int | None) -> bool:
    return timer is not None and through is not None and timer <= through
