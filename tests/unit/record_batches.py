"""Record batches as a broker would store them, written from literals."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

_CRC_AT, _ATTRIBUTES_AT, _MAX_TIMESTAMP_AT = 17, 21, 35
_CONTROL, _LOG_APPEND_TIME = 0x20, 0x08

ABORT, COMMIT = 0, 1


def batch(
    base: int,
    values: Sequence[bytes | None],
    *,
    deltas: Sequence[int] | None = None,
    keys: Sequence[bytes | None] | None = None,
    producer: int = -1,
    transactional: bool = False,
    control: bool = False,
    append_time: int | None = None,
    codec: int = 0,
    timestamp: int = 1000,
) -> bytes:
    """One record batch at offset ``base``; ``deltas`` leave gaps between its records."""
    builder = DefaultRecordBatchBuilder(2, codec, transactional, producer, 0, 0, 1 << 30)
    for index, value in enumerate(values):
        delta = index if deltas is None else deltas[index]
        key = None if keys is None else keys[index]
        builder.append(delta, timestamp + index, key, value, [])
    raw = bytearray(builder.build())
    struct.pack_into(">q", raw, 0, base)
    (attributes,) = struct.unpack_from(">h", raw, _ATTRIBUTES_AT)
    if control:
        attributes |= _CONTROL
    if append_time is not None:
        attributes |= _LOG_APPEND_TIME
        struct.pack_into(">q", raw, _MAX_TIMESTAMP_AT, append_time)
    struct.pack_into(">h", raw, _ATTRIBUTES_AT, attributes)
    return sealed(raw)


def marker(base: int, producer: int, kind: int) -> bytes:
    """The control batch that ends a producer's transaction."""
    key = struct.pack(">hh", 0, kind)
    return batch(base, [b"\0" * 6], keys=[key], producer=producer, transactional=True, control=True)


def sealed(raw: bytearray) -> bytes:
    """The batch with a checksum that fits its bytes."""
    struct.pack_into(">I", raw, _CRC_AT, calc_crc32c(bytes(raw[_ATTRIBUTES_AT:])))
    return bytes(raw)
