"""Decompressing record batches."""

from __future__ import annotations

import cramjam
from aiokafka.codec import gzip_decode, snappy_decode

from kappa.log.inflation import GZIP, LZ4, NONE, SNAPPY, ZSTD


def inflated(codec: int, payload: memoryview) -> memoryview:
    """What a batch's payload holds. Check ``inflated_bound`` before.

    Raises:
        ValueError: there is no such codec.
        cramjam.DecompressionError, OSError, EOFError, IndexError, struct.error, zlib.error: the
            payload is not of this codec.
    """
    if codec == NONE:
        return payload
    if codec == LZ4:
        return memoryview(cramjam.lz4.decompress(payload))
    if codec == ZSTD:
        return memoryview(cramjam.zstd.decompress(payload))
    if codec == GZIP:
        return memoryview(gzip_decode(payload))
    if codec == SNAPPY:
        return memoryview(snappy_decode(bytes(payload)))
    raise ValueError(f"unknown codec {codec}")
