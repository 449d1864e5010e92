"""How many bytes values take in Avro's shortest encoding, as a sum over a column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SHORT = 64
"""Integers from -64 to 63 take one byte."""


def varint_bytes(values: NDArray[np.signedinteger]) -> int:
    """The bytes of all these integers together."""
    total = len(values)
    if not total or (values.min() >= -_SHORT and values.max() < _SHORT):
        return total
    wide = values.astype(np.int64, copy=False)
    zigzag = ((wide << 1) ^ (wide >> 63)).view(np.uint64)
    highest, bound = int(zigzag.max()), 1 << 7
    while bound <= highest:
        total += int(np.count_nonzero(zigzag >= np.uint64(bound)))
        bound <<= 7
    return total


def block_bytes(counts: NDArray[np.signedinteger], lists: int) -> int:
    """The bytes of the counts of ``lists`` lists, each one block and the closing zero.

    ``counts`` may hold zeros of lists that were not written, inside a record that is null.
    """
    return lists + varint_bytes(counts[counts > 0])
