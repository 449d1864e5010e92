"""What a fold reads back after a restart, or when memory no longer holds it. No SQL here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl


@dataclass(frozen=True, slots=True)
class StoredState:
    """The state of one key of a keyed processor.

    Attributes:
        key: the text of the record key.
        state: all its values and timers, encoded.
        event_timer, processing_timer: when the earliest timer of each kind is due, ms; None
            where there is none.
    """

    key: str
    state: bytes
    event_timer: int | None
    processing_timer: int | None


class Store(Protocol):
    """The rows of one version as committed."""

    def open_rows(self, partition: int, ends_after: int, schema: pl.Schema) -> pl.DataFrame:
        """The rows of the partition's keys whose window ends after ``ends_after`` (ms).

        They have the columns and types of ``schema``, all of them columns of the table.
        """

    def states(
        self,
        partition: int,
        keys: Collection[str],
        event_through: int | None,
        processing_through: int | None,
    ) -> Sequence[StoredState]:
        """The state of these keys, and of every key with a timer due by the times given (ms)."""

    def every_state(self, partition: int, most: int) -> Sequence[StoredState] | None:
        """The state of every key of the partition; None if more than ``most`` have one."""


class NothingStored:
    """The store of a version that has committed nothing."""

    def open_rows(self, partition: int, ends_after: int, schema: pl.Schema) -> pl.DataFrame:
        return schema.to_frame()

    def states(
        self,
        partition: int,
        keys: Collection[str],
        event_through: int | None,
        processing_through: int | None,
    ) -> Sequence[StoredState]:
        return ()

    def every_state(self, partition: int, most: int) -> Sequence[StoredState] | None:
        return ()
