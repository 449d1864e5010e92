"""Big-endian two's complement numbers of any length to decimals, a whole column at once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

_WIDTH = 16


def decimals(column: pa.Array, precision: int, scale: int) -> pa.Array:
    """Decimal128 values of a binary column.

    Raises:
        ValueError: a value is empty, or has more digits than ``precision``.
    """
    raw = column.to_pylist()
    if any(value == b"" for value in raw):
        raise ValueError("a decimal of no bytes")
    filled = b"".join(_widened(value) for value in raw)
    # Arrow's decimals are little-endian: two words of 64 bits, the lower one first.
    words = np.frombuffer(filled, dtype=">u8").reshape(-1, 2)[:, ::-1].astype("<u8")
    valid = None
    if column.null_count:
        valid = pa.array([value is not None for value in raw]).buffers()[1]
    result = pa.Array.from_buffers(
        pa.decimal128(precision, scale), len(raw), [valid, pa.py_buffer(words.tobytes())]
    )
    try:
        result.validate(full=True)
    except pa.ArrowInvalid as error:
        raise ValueError(f"a decimal of more than {precision} digits") from error
    return result


def _widened(value: bytes | None) -> bytes:
    if value is None:
        return bytes(_WIDTH)
    if len(value) > _WIDTH:
        extra, value = value[:-_WIDTH], value[-_WIDTH:]
        sign = b"\xff" if value[0] >= 0x80 else b"\0"
        if extra != sign * len(extra):
            raise ValueError("a decimal of more than 38 digits")
    return (b"\xff" if value[0] >= 0x80 else b"\0") * (_WIDTH - len(value)) + value
