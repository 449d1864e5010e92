"""From scanned record batches to lists of keys and values: decompression and slicing.

Record headers are not extracted; ``_records`` is the place that would.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

import cramjam
import numpy as np
from aiokafka.errors import KafkaError
from aiokafka.record.default_records import DefaultRecordBatch
from numpy.typing import NDArray

from kappa.errors import LogError
from kappa.log.batches import Scan, StoredBatch
from kappa.log.inflation import inflated_bound
from kappa.log.records import RawBatch, TopicPartition
from kappa.log.translation import corrupt, from_aiokafka

PIECE_BYTES = 64 * 1024 * 1024
"""Decompressed bytes per raw batch; a response that inflates further gives several."""
BOMB_BYTES = 256 * 1024 * 1024
"""Decompressed bytes of one record batch beyond which it is refused unread."""

_UNREADABLE = (
    KafkaError,
    OSError,
    EOFError,
    ValueError,
    IndexError,
    struct.error,
    zlib.error,
    cramjam.DecompressionError,
)
_value_of = attrgetter("value")


@dataclass(frozen=True, slots=True)
class _Columns:
    """One record batch, taken apart."""

    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    keys: list[bytes | None]
    values: list[bytes | None]

    def between(self, start: int, end: int) -> _Columns:
        """The records whose offsets lie in ``[start, end)``."""
        low, high = np.searchsorted(self.offsets, (start, end))
        if low == 0 and high == len(self.offsets):
            return self
        return _Columns(
            self.offsets[low:high],
            self.timestamps[low:high],
            self.keys[low:high],
            self.values[low:high],
        )


def extract(
    scan: Scan,
    partition: TopicPartition,
    *,
    with_keys: bool,
    piece_bytes: int = PIECE_BYTES,
    bomb_bytes: int = BOMB_BYTES,
) -> Iterator[RawBatch]:
    """The scanned range as raw batches that cover it exactly: one or more, perhaps empty.

    Raises:
        CorruptBatch: a batch's records contradict its header.
        LogError: a batch would inflate beyond ``bomb_bytes``.
    """
    start = scan.start_offset
    size_left = scan.size_bytes
    for group, last in _grouped(scan.batches, partition, piece_bytes, bomb_bytes):
        end = scan.next_offset if last else group[-1].next_offset
        size = size_left if last else sum(len(batch.data) for batch in group)
        parts = [_records(batch, partition, with_keys).between(start, end) for batch in group]
        yield _joined(parts, partition, start, end, size)
        start, size_left = end, size_left - size


def _grouped(
    batches: Sequence[StoredBatch], partition: TopicPartition, piece_bytes: int, bomb_bytes: int
) -> Iterator[tuple[list[StoredBatch], bool]]:
    """Runs of batches that stay within ``piece_bytes`` together, each with 'is the last'."""
    group: list[StoredBatch] = []
    total = 0
    for batch in batches:
        size = inflated_bound(batch.codec, batch.payload, bomb_bytes)
        if size > bomb_bytes:
            raise LogError(
                f"a record batch of {len(batch.data)} bytes inflates beyond {bomb_bytes} bytes",
                topic=partition.topic,
                partition=partition.partition,
                offset=batch.base_offset,
                hint="lower the producer's batch size, or the topic's max.message.bytes",
            )
        if group and total + size > piece_bytes:
            yield group, False
            group, total = [], 0
        group.append(batch)
        total += size
    yield group, True


def _records(batch: StoredBatch, partition: TopicPartition, with_keys: bool) -> _Columns:
    where = {
        "topic": partition.topic,
        "partition": partition.partition,
        "offset": batch.base_offset,
    }
    try:
        columns = _dense(batch, with_keys) if batch.dense else _sparse(batch, with_keys)
    except _UNREADABLE as error:
        if isinstance(error, KafkaError):
            raise from_aiokafka(error, **where) from error
        raise corrupt(str(error), **where) from error
    if len(columns.values) != batch.count:
        raise corrupt(f"{len(columns.values)} records, its header says {batch.count}", **where)
    return columns


def _dense(batch: StoredBatch, with_keys: bool) -> _Columns:
    """A batch as it was written: offsets follow from the header, and so may timestamps.

    One loop for each set of columns wanted, because a test per record costs as much as a column.
    Appending to lists keeps no record alive: a list of the records themselves would keep the
    garbage collector busy for longer than all the rest takes.
    """
    reader = DefaultRecordBatch(batch.data)
    stamps: list[int] = []
    keys: list[bytes | None] = []
    values: list[bytes | None] = []
    add_stamp, add_key, add_value = stamps.append, keys.append, values.append
    if batch.append_time is not None and not with_keys:
        values = list(map(_value_of, reader))
    elif batch.append_time is not None:
        for record in reader:
            add_key(record.key)
            add_value(record.value)
    elif not with_keys:
        for record in reader:
            add_stamp(record.timestamp)
            add_value(record.value)
    else:
        for record in reader:
            add_stamp(record.timestamp)
            add_key(record.key)
            add_value(record.value)
    offsets = np.arange(batch.base_offset, batch.next_offset, dtype=np.int64)
    return _Columns(offsets, _timestamps(batch, stamps), keys, values)


def _sparse(batch: StoredBatch, with_keys: bool) -> _Columns:
    """A batch that compaction has thinned out."""
    offsets: list[int] = []
    stamps: list[int] = []
    keys: list[bytes | None] = []
    values: list[bytes | None] = []
    for record in DefaultRecordBatch(batch.data):
        offsets.append(record.offset)
        stamps.append(record.timestamp)
        keys.append(record.key)
        values.append(record.value)
    return _Columns(
        np.array(offsets, dtype=np.int64),
        _timestamps(batch, stamps),
        keys if with_keys else [],
        values,
    )


def _timestamps(batch: StoredBatch, own: list[int]) -> NDArray[np.int64]:
    if batch.append_time is None:
        return np.array(own, dtype=np.int64)
    return np.full(batch.count, batch.append_time, dtype=np.int64)


def _joined(
    parts: Sequence[_Columns], partition: TopicPartition, start: int, end: int, size_bytes: int
) -> RawBatch:
    keys: list[bytes | None] = []
    values: list[bytes | None] = []
    for part in parts:
        keys.extend(part.keys)
        values.extend(part.values)
    nothing = np.empty(0, dtype=np.int64)
    return RawBatch(
        topic=partition.topic,
        partition=partition.partition,
        start_offset=start,
        next_offset=end,
        offsets=np.concatenate([part.offsets for part in parts] or [nothing]),
        timestamps=np.concatenate([part.timestamps for part in parts] or [nothing]),
        keys=keys,
        values=values,
        size_bytes=size_bytes,
    )
