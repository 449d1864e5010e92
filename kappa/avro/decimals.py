"""Big-endian two's complement numbers to decimals, a whole column at once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kappa.avro.buffers import bytes_of, fixed_of, offsets_of

WIDTH = 16
"""Bytes of a 128-bit decimal, which Arrow keeps little-endian."""


def decimals_of_bytes(column: pa.Array, type_: pa.DataType) -> pa.Array | None:
    """Decimals of a binary column; None if one is empty, too long or has too many digits."""
    offsets = offsets_of(column)
    lengths = np.diff(offsets)
    empty = np.count_nonzero(lengths == 0) - column.null_count
    if empty or (len(lengths) and lengths.max() > WIDTH):
        return None
    data = bytes_of(column)
    ends = offsets[1:].astype(np.int64)
    rows = np.zeros((len(column), WIDTH), dtype=np.uint8)
    for place in range(int(lengths.max(initial=0))):
        has = lengths > place
        rows[has, place] = data[ends[has] - 1 - place]
    has = lengths > 0
    negative = np.zeros(len(column), dtype=bool)
    negative[has] = data[offsets[:-1][has]] >= 0x80
    rows[(np.arange(WIDTH) >= lengths[:, None]) & negative[:, None]] = 0xFF
    return _checked(fixed_of(type_, column, rows))


def decimals_of_fixed(
    rows: NDArray[np.uint8], like: pa.Array, type_: pa.DataType
) -> pa.Array | None:
    """Decimals of big-endian rows of equal width; None if one has too many digits."""
    width = rows.shape[1]
    negative = rows[:, 0] >= 0x80
    sign = np.where(negative, np.uint8(0xFF), np.uint8(0))[:, None]
    little = rows[:, ::-1]
    if width > WIDTH and ((little[:, WIDTH:] != sign).any() or _cut(little, negative)):
        return None
    out = np.repeat(sign, WIDTH, axis=1)
    kept = min(width, WIDTH)
    out[:, :kept] = little[:, :kept]
    return _checked(fixed_of(type_, like, out))


def _cut(little: NDArray[np.uint8], negative: NDArray[np.bool_]) -> bool:
    """Whether a sign would change if only the low bytes were kept."""
    return bool(((little[:, WIDTH - 1] >= 0x80) != negative).any())


def _checked(column: pa.Array) -> pa.Array | None:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return None
    return column
