"""From scanned record batches to raw batches: bounded decompression, and the range cut to size.

Of record headers only that of copies is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kappa.errors import LogError
from kappa.log.batches import Scan, StoredBatch
from kappa.log.column import BytesColumn
from kappa.log.inflation import inflated_bound
from kappa.log.records import RawBatch, TopicPartition
from kappa.log.taken import take_apart

PIECE_BYTES = 64 * 1024 * 1024
"""Decompressed bytes per raw batch; a response that inflates further gives several."""
BOMB_BYTES = 256 * 1024 * 1024
"""Decompressed bytes of one record batch beyond which it is refused unread."""
_FEW = 4096
"""Records in a chunk of a column, on average, below which chunks are put together."""


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
        parts = [
            part.between(start, end) for part in take_apart(group, partition, with_keys=with_keys)
        ]
        yield RawBatch(
            topic=partition.topic,
            partition=partition.partition,
            start_offset=start,
            next_offset=end,
            offsets=_end_to_end([part.offsets for part in parts]),
            timestamps=_end_to_end([part.timestamps for part in parts]),
            keys=_column([part.keys for part in parts]) if with_keys else [],
            values=_column([part.values for part in parts]),
            size_bytes=size,
            copies={at: header for part in parts for at, header in part.copies.items()},
        )
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


def _column(parts: list[pa.BinaryArray]) -> BytesColumn:
    if sum(map(len, parts)) < _FEW * len(parts):
        parts = [pa.concat_arrays(parts)]
    return BytesColumn(parts)


def _end_to_end(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])
