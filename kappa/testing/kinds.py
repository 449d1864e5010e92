"""What differs between kinds of processors when they are tried out; each kind has its module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from kappa.eventtime.watermark import PartitionClock
from kappa.processing.events import TOMBSTONE_SCHEMA, Events, Fold, Outcome
from kappa.processing.source import Source
from kappa.testing.tables import Tables

Shown = list[dict[str, Any]]
"""Rows as readers of a view see them, sorted by key."""


@dataclass(frozen=True)
class Passing:
    """A moment that a partition reaches without a record.

    Attributes:
        offset: the place in the partition that is left empty for it.
        event_time, record_time: what the greatest so far are raised to, ms; None where they stay.
    """

    partition: int
    offset: int
    event_time: int | None = None
    record_time: int | None = None

    def after(self, clock: PartitionClock) -> PartitionClock:
        """The partition's clock once it is there."""
        return clock.advanced(
            pl.Series([self.event_time], dtype=pl.Int64),
            pl.Series([self.record_time], dtype=pl.Int64),
        )


class Kind(Protocol):
    """A bound declaration of one kind."""

    @property
    def source(self) -> Source:
        """The topic it reads."""

    @property
    def record_key(self) -> str | None:
        """The source's column whose text is the record key; None where any key will do."""

    def tables(self) -> Tables:
        """Its tables, empty."""

    def fold(self, tables: Tables) -> Fold:
        """A fold that goes on from what the tables hold."""

    def passed(self, fold: Fold, passing: Passing, clock: PartitionClock) -> Outcome:
        """Has the fold's partition reach a moment; ``clock`` is the partition's before it."""

    def final_through(self, clocks: Mapping[int, PartitionClock]) -> int | None:
        """Up to when, ms, windows are final once the partitions are there; None: none is."""

    def shown(self, tables: Tables, final_through: int | None) -> Shown:
        """What the view shows."""


def clock_only(
    fold: Fold, source: Source, columns: pl.Schema, passing: Passing, clock: PartitionClock
) -> Outcome:
    """Raises a partition's clock. It will do where nothing happens at a moment by itself."""
    system = {"@partition": pl.Int32(), "@offset": pl.Int64(), "@timestamp": pl.Int64()}
    nothing = Events(
        topic=source.topic,
        partition=passing.partition,
        frame=pl.Schema({**columns, **system, "@key": pl.Binary()}).to_frame(),
        tombstones=TOMBSTONE_SCHEMA.to_frame(),
        max_record_time=None,
    )
    return fold.apply(nothing, passing.after(clock))
