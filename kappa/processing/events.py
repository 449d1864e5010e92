"""What goes into a fold and what comes out, a batch of one partition at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from kappa.eventtime.watermark import PartitionClock

TOMBSTONE_SCHEMA = pl.Schema({"@offset": pl.Int64(), "@timestamp": pl.Int64(), "@key": pl.Binary()})
DEAD_SCHEMA = pl.Schema(
    {
        "@offset": pl.Int64(),
        "error_class": pl.String(),
        "message": pl.String(),
        "stack": pl.String(),
        "timer": pl.String(),
    }
)
"""A record that cannot be applied; or, where ``timer`` says which, a timer it made fire."""
NO_TOMBSTONES, NO_DEAD = TOMBSTONE_SCHEMA.to_frame(), DEAD_SCHEMA.to_frame()
"""What nearly every batch has of them. To make such a frame takes as long as to fold hundreds of
records, so it is made once."""
STATE_SCHEMA = pl.Schema(
    {
        "partition": pl.Int32(),
        "key": pl.String(),
        "state": pl.Binary(),
        "event_timer": pl.Int64(),
        "processing_timer": pl.Int64(),
    }
)
"""One row per key that changed; ``state`` is null where nothing is left of it."""


@dataclass(frozen=True)
class Events:
    """Decoded records of one partition, in offset order.

    Attributes:
        frame: the reader's columns plus ``@partition``, ``@offset``, ``@timestamp`` (ms) and,
            for a fold that reads keys, ``@key`` (Binary).
        tombstones: records without a value (TOMBSTONE_SCHEMA).
        max_record_time: the greatest record timestamp of the batch, ms, undecodable records
            included; None in a batch without records.
    """

    topic: str
    partition: int
    frame: pl.DataFrame
    tombstones: pl.DataFrame
    max_record_time: int | None


@dataclass(frozen=True)
class Outcome:
    """What became of a batch: every record is applied, late, dead or filtered.

    Which records are late is told when they are flushed.

    Attributes:
        clock: the partition's clock after the batch.
        dead: the dead letters (DEAD_SCHEMA), each by its offset.
        filtered: records that the declaration leaves out.
    """

    clock: PartitionClock
    dead: pl.DataFrame
    filtered: int


@dataclass(frozen=True)
class Changes:
    """What the batches since the last flush change, to be committed with their offsets.

    Attributes:
        rows: the rows that changed, in the table's columns.
        late: rows for the late table, None where there are none.
        sides: rows of side outputs, by the output's name.
        state: what changed of the state of keys (STATE_SCHEMA), None for kinds without.
    """

    rows: pl.DataFrame
    late: pl.DataFrame | None = None
    sides: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    state: pl.DataFrame | None = None


class Fold(Protocol):
    """Takes batches in, gives the rows that changed out. Not shared between threads."""

    @property
    def reads(self) -> frozenset[str]:
        """The source columns it needs."""

    @property
    def reads_keys(self) -> bool:
        """Whether it needs ``@key``."""

    @property
    def one_by_one(self) -> bool:
        """Whether it calls a handler for each record, which may take as long as it likes."""

    @property
    def full(self) -> bool:
        """Whether memory asks for a flush before more batches."""

    def apply(self, events: Events, clock: PartitionClock) -> Outcome:
        """Folds one batch in; ``clock`` is its partition's before the batch."""

    def flush(self) -> Changes:
        """What was folded since the last flush."""

    def settled(self) -> None:
        """The oldest flush not settled yet is committed: the store now has it."""


def of_records(dead: pl.DataFrame) -> pl.DataFrame:
    """Those dead letters that are of records, not of timers."""
    return dead if dead.is_empty() else dead.filter(pl.col("timer").is_null())


def dead_letters(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Dead letters of several causes as one frame, in offset order, each record and timer once.

    Columns that a part lacks are null.
    """
    present = [part for part in parts if len(part)]
    if not present:
        return NO_DEAD
    joined = pl.concat([NO_DEAD, *present], how="diagonal")
    once = joined.unique(["@offset", "timer"], keep="first", maintain_order=True)
    return once.sort("@offset", maintain_order=True)
