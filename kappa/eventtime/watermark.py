"""The watermark of a partition: how far its event time has come.

It is the running maximum of the event times met so far, minus how much disorder the source
declares. It depends on the records of one partition and their order alone, so that a replay
of the same offsets comes to the same watermark at every record, whatever the batch sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl


@dataclass(frozen=True, slots=True)
class PartitionClock:
    """What a partition's time is computed from; kept in its offset row.

    Attributes:
        max_event_time: greatest event time accepted so far, ms; None before the first.
        max_record_time: greatest record timestamp so far, ms; the partition's processing time.
            For a keyed processor that of records that could be decoded, and of tombstones.
    """

    max_event_time: int | None = None
    max_record_time: int | None = None

    def advanced(self, event_time: pl.Series | None, record_time: pl.Series) -> PartitionClock:
        """The clock after these records (Int64 ms, in offset order); nulls do not count."""
        return PartitionClock(
            _later(self.max_event_time, event_time),
            _later(self.max_record_time, record_time),
        )


def watermarks(event_time: pl.Series, clock: PartitionClock, out_of_orderness: int) -> pl.Series:
    """The watermark right after each of these records (Int64 ms, in offset order).

    ``event_time`` has no nulls; ``clock`` is the partition's before the first of them.
    """
    running = np.maximum.accumulate(event_time.to_numpy())
    if clock.max_event_time is not None:
        running = np.maximum(running, clock.max_event_time)
    return pl.Series(running - out_of_orderness, dtype=pl.Int64)


def _later(so_far: int | None, times: pl.Series | None) -> int | None:
    newest = None if times is None else times.max()
    if newest is None:  # a batch without records: compacted away, or aborted
        return so_far
    assert isinstance(newest, int)
    return newest if so_far is None else max(so_far, newest)
