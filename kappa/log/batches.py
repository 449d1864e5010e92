"""Record batches as the broker sends them: which of them are committed, and where they lie.

Pure: bytes in, a description out. The algorithm is Kafka's ``read_committed``:

    response:  [T1 data] [T2 data] [plain] [T1 abort] [T1 data] [T2 commit]
    aborted:   (T1, first offset 0)
    delivered:            T2 data   plain              T1 data

A producer named in the response's list of aborted transactions is dropped from that
transaction's first offset until its abort marker passes; the same producer's next transaction
is then judged afresh. Markers deliver nothing but take an offset.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from aiokafka.record.default_records import DefaultRecordBatch

from kappa.log.records import TopicPartition
from kappa.log.translation import corrupt

_HEADER = struct.Struct(">qiibIhiqqqhii")
ATTRIBUTES_AT = 22
"""The byte of a batch with the bits of its codec, ``CODEC``."""
_LENGTH_END = 12  # base offset and length come before what ``length`` counts
_MAGIC = 2  # the only format a broker since Kafka 4 stores
CODEC = 0x07
_LOG_APPEND_TIME = 0x08
_TRANSACTIONAL = 0x10
_CONTROL = 0x20
_ABORT = b"\x00\x00\x00\x00"  # a marker's key: version 0, type 0


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """One record batch to deliver: its header and its bytes, still compressed."""

    base_offset: int
    next_offset: int
    codec: int
    first_timestamp: int
    """What the records' own timestamps are counted from, in ms."""
    append_time: int | None
    """The one timestamp of all its records in ms, or None if each has its producer's."""
    count: int
    data: memoryview

    @property
    def dense(self) -> bool:
        """Whether no offset is missing between the first record and the last."""
        return self.count == self.next_offset - self.base_offset

    @property
    def header(self) -> memoryview:
        """What stands before the records."""
        return self.data[: _HEADER.size]

    @property
    def payload(self) -> memoryview:
        """The records, compressed as ``codec`` says."""
        return self.data[_HEADER.size :]


@dataclass(frozen=True, slots=True)
class Scan:
    """What fetch responses say about ``[start_offset, next_offset)`` of a partition."""

    start_offset: int
    next_offset: int
    batches: tuple[StoredBatch, ...]
    size_bytes: int

    def followed_by(self, later: Scan) -> Scan:
        """Both as one; ``later`` begins where this one ends."""
        return Scan(
            self.start_offset,
            later.next_offset,
            self.batches + later.batches,
            self.size_bytes + later.size_bytes,
        )


def scan(
    data: bytes,
    partition: TopicPartition,
    start_offset: int,
    end_offset: int | None,
    aborted: Iterable[tuple[int, int]],
) -> Scan:
    """Finds the committed batches among those fetched from ``start_offset`` of ``partition``.

    ``aborted`` holds (producer id, first offset) of the aborted transactions that overlap the
    response. ``end_offset`` is exclusive; None if the reader follows the log. The first batch may
    begin before the start and the last may reach past the end: records outside the range are the
    extraction's to cut off.

    Raises:
        CorruptBatch: a checksum or a format that does not fit.
    """
    pending = sorted(aborted, key=lambda entry: entry[1], reverse=True)
    aborting: set[int] = set()
    kept: list[StoredBatch] = []
    view = memoryview(data)
    position = 0
    next_offset = start_offset
    while position + _HEADER.size <= len(data):
        base, length, _, magic, _, attributes, last_delta, *rest = _HEADER.unpack_from(
            data, position
        )
        first_ts, max_ts, producer, _, _, count = rest
        batch_end = position + _LENGTH_END + length
        if batch_end > len(data):
            break  # the response was cut at its size limit; the rest comes with the next one
        if end_offset is not None and base >= end_offset:
            next_offset = end_offset
            break
        raw = view[position:batch_end]
        _verify(raw, magic, partition, base)
        while pending and pending[-1][1] <= base:
            aborting.add(pending.pop()[0])
        batch_next = base + last_delta + 1
        if attributes & _CONTROL:
            if _is_abort(raw, count):
                aborting.discard(producer)
        elif attributes & _TRANSACTIONAL and producer in aborting:
            pass
        elif count and batch_next > start_offset:
            stamp = max_ts if attributes & _LOG_APPEND_TIME else None
            codec = attributes & CODEC
            kept.append(StoredBatch(base, batch_next, codec, first_ts, stamp, count, raw))
        next_offset = max(next_offset, batch_next)
        position = batch_end
    if end_offset is not None:
        next_offset = min(next_offset, end_offset)
    return Scan(start_offset, next_offset, tuple(kept), len(data))


def _verify(raw: memoryview, magic: int, partition: TopicPartition, offset: int) -> None:
    where = {"topic": partition.topic, "partition": partition.partition, "offset": offset}
    if magic != _MAGIC:
        raise corrupt(f"message format {magic}, expected {_MAGIC}", **where)
    if len(raw) < _HEADER.size:
        raise corrupt("shorter than its header", **where)
    if not DefaultRecordBatch(raw).validate_crc():
        raise corrupt("the checksum does not match the bytes", **where)


def _is_abort(raw: memoryview, count: int) -> bool:
    if count != 1:
        return False
    record = next(iter(DefaultRecordBatch(raw)))
    return bool(record.key is not None and record.key[:4] == _ABORT)
