"""Which partition a record key lies in, as Java's default partitioner says."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

_M = np.uint32(0x5BD1E995)
_SEED = 0x9747B28C
_SHIFT = np.uint32(24)

Hashes = NDArray[np.uint32]


def partitions(keys: pl.Series, count: int) -> pl.Series:
    """The partition, of ``count``, of each key's text."""
    texts = pl.DataFrame({"text": keys.unique().cast(pl.String)})
    sized = texts.with_columns(pl.col("text").str.len_bytes().alias("size"))
    parts = [
        same.with_columns(pl.Series("hash", murmur2(_matrix(same["text"]))))
        for same in sized.partition_by("size")
    ]
    positive = pl.col("hash") & 0x7FFFFFFF
    known = pl.concat(parts).select("text", (positive % count).cast(pl.Int32).alias("partition"))
    wanted = pl.DataFrame({"text": keys.cast(pl.String)})
    return wanted.join(known, on="text", how="left", maintain_order="left")["partition"]


def murmur2(keys: NDArray[np.uint8]) -> Hashes:
    """Kafka's hash (org.apache.kafka.common.utils.Utils.murmur2) of keys of one length, a row each.

    Unsigned; arithmetic wraps around at 32 bits.
    """
    rows, size = keys.shape
    whole = size // 4 * 4
    hashes = np.full(rows, _SEED ^ size, dtype=np.uint32)
    for at in range(0, whole, 4):
        word = _little_endian(keys[:, at : at + 4]) * _M
        hashes = hashes * _M ^ (word ^ word >> _SHIFT) * _M
    if whole < size:
        hashes = (hashes ^ _little_endian(keys[:, whole:])) * _M
    hashes = (hashes ^ hashes >> np.uint32(13)) * _M
    return hashes ^ hashes >> np.uint32(15)


def _little_endian(digits: NDArray[np.uint8]) -> Hashes:
    word = np.zeros(len(digits), dtype=np.uint32)
    for place in range(digits.shape[1]):
        word |= digits[:, place].astype(np.uint32) << np.uint32(8 * place)
    return word


def _matrix(texts: pl.Series) -> NDArray[np.uint8]:
    joined = "".join(texts.to_list()).encode()
    return np.frombuffer(joined, dtype=np.uint8).reshape(len(texts), -1)
