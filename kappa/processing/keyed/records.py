"""From a batch of columns to what handlers take one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from kappa.eventtime.watermark import PartitionClock, watermarks
from kappa.processing.admission import Storable, admit, time_refusals
from kappa.processing.aggregates.partials import Refusal
from kappa.processing.events import Events
from kappa.processing.expressions import columns_read
from kappa.processing.guarded import evaluate
from kappa.processing.keyed.turn import BEFORE_ALL
from kappa.processing.record_key import foreign_key
from kappa.processing.source import Source

LONGEST_KEY = 2_500
"""UTF-8 bytes of a key: with its partition it must fit an entry of a B-tree index."""

Record = tuple[str, Any, int, int, int, int]
"""Key, event, event time, watermark, processing time (both with this record), offset."""


@dataclass(frozen=True)
class Records:
    """The records of one batch that reach the handlers.

    Attributes:
        keys: their keys, as text.
        rows: the records one by one, in offset order.
        watermark, processing_time: of the partition after the last of them, ms.
        clock: the partition's after the batch.
        dead: the dead letters of the others.
    """

    keys: pl.Series
    rows: Iterator[Record]
    watermark: int
    processing_time: int
    clock: PartitionClock
    dead: list[pl.DataFrame]


class RecordReader:
    """Takes batches apart.

    Args:
        source: the topic and how its event time behaves.
        time: the event time as ``@event_time``; None for a source without.
        key: the column that is the record key.
        columns: what handlers see of a record.
        storable: what the table store can hold.
    """

    def __init__(
        self,
        source: Source,
        time: pl.Expr | None,
        key: str,
        columns: dict[str, pl.Expr],
        storable: Storable,
    ) -> None:
        self._source = source
        self._time = time
        self._names = list(columns)
        self._storable = storable
        self._event: Any = msgspec.defstruct("Event", self._names, frozen=True, gc=False)
        times = [] if time is None else [time]
        seen = [expr.alias(f"@column {name}") for name, expr in columns.items()]
        self._selecting = [
            pl.col("@offset", "@timestamp", "@key", "@processing_time"),
            pl.col(key),
            *times,
            *seen,
        ]
        self._key = key
        self._refusals = [
            *([] if time is None else time_refusals(source)),
            foreign_key(key),
            *_unfit_keys(key),
        ]
        self.reads = columns_read([*times, pl.col(key), *seen])

    def read(self, events: Events, clock: PartitionClock) -> Records:
        """The batch as records; ``clock`` is the partition's before it."""
        reached = _processing_times(events, clock)
        stamped = events.frame.with_columns(pl.Series("@processing_time", reached))
        selected, failed = evaluate(stamped, self._selecting)
        admitted, refused = admit(selected, self._refusals, [], self._storable)
        keys = admitted[self._key].cast(pl.String)
        after = clock.advanced(
            None if self._time is None else admitted["@event_time"],
            pl.concat([events.frame["@timestamp"], events.tombstones["@timestamp"]]),
        )
        return Records(
            keys=keys,
            rows=self._rows(keys, admitted, clock),
            watermark=self.watermark(after),
            processing_time=int(admitted["@processing_time"][-1]) if len(admitted) else BEFORE_ALL,
            clock=after,
            dead=[failed, refused],
        )

    def watermark(self, clock: PartitionClock) -> int:
        """The watermark of a partition, ms; BEFORE_ALL where it has none."""
        if clock.max_event_time is None:
            return BEFORE_ALL
        return clock.max_event_time - self._source.out_of_orderness_ms

    def _rows(
        self, keys: pl.Series, admitted: pl.DataFrame, clock: PartitionClock
    ) -> Iterator[Record]:
        columns = [admitted[f"@column {name}"].to_list() for name in self._names]
        events: Iterable[Any] = map(self._event, *columns) if columns else repeat(self._event())
        times: Iterable[int] = repeat(BEFORE_ALL)
        reached: Iterable[int] = repeat(BEFORE_ALL)
        if self._time is not None:
            time = admitted["@event_time"]
            times = time.to_list()
            reached = watermarks(time, clock, self._source.out_of_orderness_ms).to_list()
        return zip(
            keys.to_list(),
            events,
            times,
            reached,
            admitted["@processing_time"].to_list(),
            admitted["@offset"].to_list(),
            strict=False,
        )


def _processing_times(events: Events, clock: PartitionClock) -> NDArray[np.int64]:
    """At each record the greatest timestamp so far, those of tombstones and refused records too.

    Of records that could not be decoded only the batch's greatest is known, and not at which
    record it was reached: counted, it would show how the log was cut where timestamps step back.
    """
    reached = np.maximum.accumulate(events.frame["@timestamp"].to_numpy())
    if len(events.tombstones):
        gone = np.maximum.accumulate(events.tombstones["@timestamp"].to_numpy())
        before = np.searchsorted(
            events.tombstones["@offset"].to_numpy(), events.frame["@offset"].to_numpy()
        )
        at_tombstone = np.where(before > 0, gone[np.maximum(before - 1, 0)], BEFORE_ALL)
        reached = np.maximum(reached, at_tombstone)
    if clock.max_record_time is not None:
        reached = np.maximum(reached, clock.max_record_time)
    return reached


def _unfit_keys(key: str) -> list[Refusal]:
    """Keys that could not be a key of the state's table."""
    text = pl.col(key).cast(pl.String)
    return [
        Refusal(
            text.str.len_bytes() > LONGEST_KEY, f"the key is longer than {LONGEST_KEY:,} bytes"
        ),
        Refusal(
            text.str.contains("\0", literal=True), "the key holds NUL, which PostgreSQL cannot"
        ),
    ]
