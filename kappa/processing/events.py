"""What goes into a fold and what comes out, a batch of one partition at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from kappa.eventtime.watermark import PartitionClock

TOMBSTONE_SCHEMA = pl.Schema({"@offset": pl.Int64(), "@timestamp": pl.Int64(), "@key": pl.Binary()})
DEAD_SCHEMA = pl.Schema({"@offset": pl.Int64(), "error_class": pl.String(), "message": pl.String()})


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

    Attributes:
        clock: the partition's clock after the batch.
        late: rows for the late table, None where there are none.
        dead: the dead letters (DEAD_SCHEMA), each by its offset.
        filtered: records that the declaration leaves out.
    """

    clock: PartitionClock
    late: pl.DataFrame | None
    dead: pl.DataFrame
    filtered: int


class Fold(Protocol):
    """Takes batches in, gives the rows that changed out. Not shared between threads."""

    @property
    def reads(self) -> frozenset[str]:
        """The source columns it needs."""

    @property
    def reads_keys(self) -> bool:
        """Whether it needs ``@key``."""

    @property
    def buffered(self) -> int:
        """Rows held in memory since the last flush."""

    def apply(self, events: Events, clock: PartitionClock) -> Outcome:
        """Folds one batch in; ``clock`` is its partition's before the batch."""

    def flush(self) -> pl.DataFrame:
        """The rows folded since the last flush, in the table's columns; forgets them."""


def dead_letters(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Dead letters of several causes as one frame, in offset order, each record once."""
    present = [part for part in parts if len(part)]
    if not present:
        return pl.DataFrame(schema=DEAD_SCHEMA)
    joined = pl.concat(present)
    return joined.unique("@offset", keep="first", maintain_order=True).sort("@offset")
