"""A topic in memory: rows get a place, a key and a timestamp, and become batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from kappa.errors import BadRecord
from kappa.processing.admission import event_time
from kappa.processing.events import TOMBSTONE_SCHEMA, Events
from kappa.processing.source import Source
from kappa.testing.moments import Moment, in_ms
from kappa.testing.rows import Row, RowReader

Place = tuple[int, int]
"""Partition and offset."""


@dataclass(frozen=True)
class Sent:
    """A record as a test sends it.

    Attributes:
        row: its columns; None for a tombstone.
        timestamp: when it reached the topic; None: at its event time, or at the greatest
            timestamp of its partition so far, if that is later.
        key: its record key; None: the text of the column that is the record key.
    """

    row: Row | None
    timestamp: Moment | None = None
    key: str | None = None


class Topic:
    """The records sent so far.

    Attributes:
        rows: what was sent, by its place.
    """

    def __init__(self, source: Source, reader: RowReader, record_key: str | None) -> None:
        self.rows: dict[Place, Row | None] = {}
        self._name = source.topic
        self._reader = reader
        self._record_key = record_key
        self._time = (
            None
            if source.event_time is None
            else event_time(source, reader.schema, where=f"the topic {source.topic!r}")
        )
        self._next: dict[int, int] = {}
        self._newest: dict[int, int] = {}

    def skip(self, partition: int) -> int:
        """Leaves a place empty; returns its offset."""
        offset = self._next.get(partition, 0)
        self._next[partition] = offset + 1
        return offset

    def reach(self, partition: int, timestamp: int) -> None:
        """Later records of the partition are no older than this, ms."""
        self._newest[partition] = max(self._newest.get(partition, timestamp), timestamp)

    def append(self, partition: int, sent: Sequence[Sent]) -> Events:
        """The records at the end of the partition, as one batch.

        Raises:
            BadRecord: a row does not fit the topic's columns, or a tombstone has no key.
        """
        offsets = [self.skip(partition) for _ in sent]
        self.rows.update(((partition, at), one.row) for at, one in zip(offsets, sent, strict=True))
        present = [at for at, one in enumerate(sent) if one.row is not None]
        frame = self._reader.frame([one.row for one in sent if one.row is not None])
        times = dict(zip(present, self._times(frame), strict=True))
        texts = dict(zip(present, self._texts(frame), strict=True))
        stamps = [self._stamp(partition, one, times.get(n)) for n, one in enumerate(sent)]
        keys = [_key(one, texts.get(n)) for n, one in enumerate(sent)]
        system = pl.DataFrame(
            {"@offset": offsets, "@timestamp": stamps, "@key": keys}, schema=TOMBSTONE_SCHEMA
        )
        gone = [at for at, one in enumerate(sent) if one.row is None]
        return Events(
            topic=self._name,
            partition=partition,
            frame=pl.concat([frame, system[present]], how="horizontal").with_columns(
                pl.lit(partition, pl.Int32).alias("@partition")
            ),
            tombstones=system[gone],
            max_record_time=max(stamps, default=None),
        )

    def _times(self, frame: pl.DataFrame) -> list[int | None]:
        """Event times, ms."""
        if self._time is None:
            return [None] * len(frame)
        return frame.select(self._time).to_series().to_list()

    def _texts(self, frame: pl.DataFrame) -> list[str | None]:
        """What the record keys should be."""
        if self._record_key is None:
            return [None] * len(frame)
        return frame[self._record_key].cast(pl.String).to_list()

    def _stamp(self, partition: int, sent: Sent, time: int | None) -> int:
        newest = self._newest.get(partition)
        if sent.timestamp is not None:
            stamp = in_ms(sent.timestamp)
        else:
            stamp = max((t for t in (time, newest) if t is not None), default=0)
        self.reach(partition, stamp)
        return stamp


def between(events: Events, start: int, stop: int) -> Events:
    """The part of a batch with offsets from ``start`` to before ``stop``."""
    inside = pl.col("@offset").is_between(start, stop, closed="left")
    frame, tombstones = events.frame.filter(inside), events.tombstones
    if len(tombstones):
        tombstones = tombstones.filter(inside)
    stamps: list[Any] = [frame["@timestamp"].max(), tombstones["@timestamp"].max()]
    newest = max((stamp for stamp in stamps if stamp is not None), default=None)
    return replace(events, frame=frame, tombstones=tombstones, max_record_time=newest)


def _key(sent: Sent, text: str | None) -> bytes | None:
    key = text if sent.key is None else sent.key
    if sent.row is None and key is None:
        raise BadRecord("a tombstone needs a key", hint='send(None, key="…")')
    return None if key is None else key.encode()


def as_sent(record: Row | Sent | None) -> Sent:
    """A record that may be given as its row alone."""
    return record if isinstance(record, Sent) else Sent(record)


Records = Sequence[Row | Sent | None]


def by_partition(records: Records | Mapping[int, Records]) -> dict[int, list[Sent]]:
    """Records by their partition; those of one partition may be given alone."""
    given = records if isinstance(records, Mapping) else {0: records}
    return {partition: [as_sent(one) for one in several] for partition, several in given.items()}
