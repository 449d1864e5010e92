"""Decompressing record batches."""

from __future__ import annotations

import cramjam
from aiokafka.codec import snappy_decode

from kappa.log.inflation import GZIP, LZ4, NONE, SNAPPY, ZSTD, gunzipped


def inflated(codec: int, payload: memoryview) -> memoryview:
    """What a batch's payload holds. Check ``inflated_bound`` before.

    Raises:
        ValueError: there is no such codec.
        cramjam.DecompressionError, EOFError, IndexError, struct.error, zlib.error: the
            payload is not of this codec.
    """
    if codec == NONE:
        return payload
    if codec == LZ4:
        return memoryview(cramjam.lz4.decompress(payload))
    if codec == ZSTD:
        return memoryview(cramjam.zstd.decompress(payload))
    if codec == GZIP:
        return memoryview(b"".join(gunzipped(payload)))
    if codec == SNAPPY:
        return memoryview(snappy_decode(bytes(payload)))
    raise ValueError(f"unknown codec {codec}")
