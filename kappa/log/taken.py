"""Record batches taken apart: their records' offsets, timestamps, keys and values as columns.

Batches of one form are read together, without a loop over their records; see ``uniform``. The
others, and all that is damaged, aiokafka reads record by record, and says what is wrong.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import cramjam
import numpy as np
import pyarrow as pa
from aiokafka.errors import KafkaError
from aiokafka.record.default_records import DefaultRecord, DefaultRecordBatch
from numpy.typing import NDArray

from kappa.log.batches import ATTRIBUTES_AT, CODEC, StoredBatch
from kappa.log.codecs import inflated
from kappa.log.copies import HEADER
from kappa.log.records import TopicPartition
from kappa.log.translation import corrupt, from_aiokafka
from kappa.log.uniform import Payload, Records, form_of, records

_BLOCK_BYTES = 1 << 20
"""Compressed bytes of the batches read together: few enough for the processor's cache."""
FEW = 1000
"""Records that are sooner read one by one."""
_GROUPS = 8
"""Into how many groups batches that cannot be read together are divided."""

_COPY = HEADER.encode()

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


@dataclass(frozen=True, slots=True)
class Columns:
    """Records that follow each other in the log.

    ``copies`` has the header of those that have one, see ``kappa.log.copies``.
    """

    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    keys: pa.BinaryArray
    values: pa.BinaryArray
    copies: Mapping[int, bytes | None] = field(default_factory=dict)

    def between(self, start: int, end: int) -> Columns:
        """The records whose offsets lie in ``[start, end)``."""
        low, high = np.searchsorted(self.offsets, (start, end))
        if low == 0 and high == len(self.offsets):
            return self
        return Columns(
            self.offsets[low:high],
            self.timestamps[low:high],
            self.keys[low:high],
            self.values[low:high],
            {at: header for at, header in self.copies.items() if start <= at < end},
        )


def take_apart(
    batches: Sequence[StoredBatch], partition: TopicPartition, *, with_keys: bool = True
) -> Iterator[Columns]:
    """The records of these batches, in order. Without keys, those of ``Columns`` mean nothing.

    Raises:
        CorruptBatch: a batch's records contradict its header.
    """
    alone = _OneByOne(partition, with_keys)
    for block in _blocks(batches):
        try:
            payloads = [_payload(each, partition) for each in block]
        except _UNREADABLE:
            yield alone.read(block, [batch.data for batch in block])
        else:
            yield from _split(block, payloads, alone)


def _payload(batch: StoredBatch, partition: TopicPartition) -> Payload:
    """What the batch holds.

    Gzip is refused here, before aiokafka's more lenient reader: zeros after the last member
    would hide from ``inflated_bound`` how large it becomes.
    """
    try:
        return Payload(inflated(batch.codec, batch.payload), batch.count)
    except (zlib.error, EOFError) as error:
        raise corrupt(str(error), **_where(batch, partition)) from error


def _where(batch: StoredBatch, partition: TopicPartition) -> dict[str, object]:
    return {
        "topic": partition.topic,
        "partition": partition.partition,
        "offset": batch.base_offset,
    }


def _split(
    batches: Sequence[StoredBatch], payloads: Sequence[Payload], alone: _OneByOne
) -> Iterator[Columns]:
    """The records of these batches: read together, else in ever smaller groups of batches."""
    few = sum(batch.count for batch in batches) < FEW
    found = None if few else _together(batches, payloads)
    if found is not None:
        yield found
    elif few or len(batches) == 1:
        yield alone.read(batches, list(map(_uncompressed, batches, payloads)))
    else:
        size = -(-len(batches) // _GROUPS)
        for at in range(0, len(batches), size):
            yield from _split(batches[at : at + size], payloads[at : at + size], alone)


def _blocks(batches: Sequence[StoredBatch]) -> Iterator[list[StoredBatch]]:
    block: list[StoredBatch] = []
    size = 0
    for batch in batches:
        if block and size + len(batch.data) > _BLOCK_BYTES:
            yield block
            block, size = [], 0
        block.append(batch)
        size += len(batch.data)
    if block:
        yield block


def _together(batches: Sequence[StoredBatch], payloads: Sequence[Payload]) -> Columns | None:
    """The records of batches of one form; None if they are not, or if anything is odd."""
    form = form_of(payloads[0])
    found = None if form is None else records(payloads, form)
    if found is None or not _is_numbered(batches, found):
        return None
    counts = [batch.count for batch in batches]
    offsets = np.repeat([batch.base_offset for batch in batches], counts)
    offsets += found.offset_deltas
    deltas = found.timestamp_deltas
    if any(batch.append_time is not None for batch in batches):
        deltas = deltas * np.repeat([batch.append_time is None for batch in batches], counts)
    stamps = [
        batch.first_timestamp if batch.append_time is None else batch.append_time
        for batch in batches
    ]
    return Columns(offsets, np.repeat(stamps, counts) + deltas, found.keys, found.values)


def _is_numbered(batches: Sequence[StoredBatch], found: Records) -> bool:
    """Whether the records of every dense batch count up from its first offset."""
    counts = [batch.count for batch in batches]
    first = np.cumsum([0, *counts[:-1]])
    wrong = found.offset_deltas != np.arange(sum(counts)) - np.repeat(first, counts)
    if not wrong.any():
        return True
    return not (wrong & np.repeat([batch.dense for batch in batches], counts)).any()


def _uncompressed(batch: StoredBatch, payload: Payload) -> bytes:
    """The batch as if it had been sent so, but for the checksum, which was right."""
    header = bytearray(batch.header)
    header[ATTRIBUTES_AT] &= ~CODEC
    return bytes(header) + payload.data


class _OneByOne:
    """Reads records as aiokafka does.

    One loop for each set of columns wanted, because a test per record costs as much as a column.
    Lists of what is taken keep no record alive: a list of the records themselves would keep the
    garbage collector busy for longer than all the rest takes.
    """

    def __init__(self, partition: TopicPartition, with_keys: bool) -> None:
        self._partition = partition
        self._with_keys = with_keys

    def read(self, batches: Sequence[StoredBatch], data: Sequence[bytes | memoryview]) -> Columns:
        """The records of batches; ``data`` holds each, compressed or not."""
        offsets: list[int] = []
        stamps: list[int] = []
        keys: list[bytes | None] = []
        values: list[bytes | None] = []
        copies: dict[int, bytes | None] = {}
        for batch, each in zip(batches, data, strict=True):
            before = len(values)
            where = _where(batch, self._partition)
            try:
                self._take(batch, DefaultRecordBatch(each), offsets, stamps, keys, values)
                if each[ATTRIBUTES_AT] & CODEC or _COPY in bytes(each):
                    copies.update(_copies(DefaultRecordBatch(each), offsets[before:]))
            except _UNREADABLE as error:
                if isinstance(error, KafkaError):
                    raise from_aiokafka(error, **where) from error
                raise corrupt(str(error), **where) from error
            if len(values) - before != batch.count:
                reason = f"{len(values) - before} records, its header says {batch.count}"
                raise corrupt(reason, **where)
        return Columns(
            np.array(offsets, dtype=np.int64),
            np.array(stamps, dtype=np.int64),
            pa.array(keys, pa.binary()) if self._with_keys else pa.nulls(len(values), pa.binary()),
            pa.array(values, pa.binary()),
            copies,
        )

    def _take(
        self,
        batch: StoredBatch,
        records: Iterable[DefaultRecord],
        offsets: list[int],
        stamps: list[int],
        keys: list[bytes | None],
        values: list[bytes | None],
    ) -> None:
        add_stamp, add_key, add_value = stamps.append, keys.append, values.append
        if not batch.dense:
            for record in records:
                offsets.append(record.offset)
                add_stamp(record.timestamp)
                add_key(record.key)
                add_value(record.value)
            return
        offsets.extend(range(batch.base_offset, batch.next_offset))
        if self._with_keys:
            for record in records:
                add_stamp(record.timestamp)
                add_key(record.key)
                add_value(record.value)
        else:
            for record in records:
                add_stamp(record.timestamp)
                add_value(record.value)


def _copies(
    records: Iterable[DefaultRecord], offsets: Sequence[int]
) -> Iterator[tuple[int, bytes | None]]:
    """By offset, the header of the records that have one; the last one, as other clients do."""
    for offset, record in zip(offsets, records, strict=False):
        for name, value in record.headers:
            if name == HEADER:
                yield offset, value
