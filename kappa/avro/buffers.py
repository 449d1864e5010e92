"""Arrow arrays from and to their buffers, without a copy.

Only for arrays that are no slice of another: those a decoder has just built.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def offsets_of(array: pa.Array) -> NDArray[np.int32]:
    """Where each string, list or map begins, and where the last one ends."""
    buffer = array.buffers()[1]
    if not len(array) or buffer is None:
        return np.zeros(1, dtype=np.int32)
    return np.frombuffer(buffer, dtype=np.int32, count=len(array) + 1)


def bytes_of(array: pa.Array) -> NDArray[np.uint8]:
    """The bytes of all strings, one after the other."""
    buffer = array.buffers()[2]
    data = np.frombuffer(buffer if buffer is not None else b"", dtype=np.uint8)
    return data[: offsets_of(array)[-1]]


def valid_of(array: pa.Array) -> NDArray[np.bool_] | None:
    """Which values are not null; None if all are."""
    if not array.null_count:
        return None
    bits = np.frombuffer(array.buffers()[0], dtype=np.uint8)
    return np.unpackbits(bits, count=len(array), bitorder="little").view(np.bool_)


def numbers_of(array: pa.Array) -> NDArray[np.int64]:
    """The values of an array of longs; where it is null, any number."""
    buffer = array.buffers()[1]
    return np.frombuffer(buffer if buffer is not None else b"", np.int64, count=len(array))


def retyped(array: pa.Array, type_: pa.DataType) -> pa.Array:
    """The same buffers under another type of the same layout."""
    return pa.Array.from_buffers(type_, len(array), array.buffers(), array.null_count)


def struct_of(type_: pa.DataType, like: pa.Array, children: Sequence[pa.Array]) -> pa.Array:
    """A struct that is null where ``like`` is."""
    return pa.Array.from_buffers(
        type_, len(like), [like.buffers()[0]], like.null_count, children=list(children)
    )


def list_of(type_: pa.DataType, like: pa.Array, items: pa.Array) -> pa.Array:
    """Lists of ``items``, divided as ``like``, a list or a map, divides its own."""
    return pa.Array.from_buffers(
        type_, len(like), like.buffers()[:2], like.null_count, children=[items]
    )


def fixed_of(type_: pa.DataType, like: pa.Array, rows: NDArray[np.uint8]) -> pa.Array:
    """Values of a fixed width from a row of bytes each; null where ``like`` is."""
    data = pa.py_buffer(np.ascontiguousarray(rows))
    return pa.Array.from_buffers(type_, len(like), [like.buffers()[0], data], like.null_count)
