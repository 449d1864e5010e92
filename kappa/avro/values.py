"""Framed values as they come in: bytes one after the other, and how long each is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

T = TypeVar("T", list[bytes | None], pa.BinaryArray)

AT_ONCE = 1 << 15
"""Values decoded at once, so that what is made on the way stays in the processor's cache."""


class Values:
    """Values that are all there, as a column holds them."""

    def __init__(self, column: pa.BinaryArray) -> None:
        self._column = column
        offsets = np.frombuffer(column.buffers()[1], dtype=np.int32)
        self._offsets = offsets[column.offset : column.offset + len(column) + 1]
        self.lengths: NDArray[np.int32] = np.diff(self._offsets)

    @classmethod
    def of(cls, values: Sequence[bytes]) -> Values:
        """Values from a list, which together are shorter than 2 GiB."""
        return cls(pa.array(values, pa.binary()))

    def __len__(self) -> int:
        return len(self._column)

    @property
    def data(self) -> memoryview:
        """All of them, one after the other."""
        buffer = self._column.buffers()[2]
        return memoryview(buffer or b"")[self._offsets[0] : self._offsets[-1]]

    @property
    def size(self) -> int:
        """Their bytes together."""
        return int(self._offsets[-1] - self._offsets[0])

    @property
    def first(self) -> bytes:
        """The first one."""
        return bytes(self.data[: self.lengths[0]])

    def to_list(self) -> list[bytes]:
        """Each by itself."""
        found: list[bytes] = self._column.to_pylist()
        return found


def blocks(values: Sequence[bytes | None]) -> Iterator[pa.BinaryArray]:
    """Columns that hold the values, in order: without a copy where they are in Arrow already."""
    if hasattr(values, "__arrow_c_stream__"):
        column = pa.chunked_array(values)
        for chunk in (column if column.type == pa.binary() else column.cast(pa.binary())).chunks:
            yield from _pieces(chunk)
        return
    for piece in _pieces(values):
        found = pa.array(piece, pa.binary())
        yield from found.chunks if isinstance(found, pa.ChunkedArray) else [found]


def _pieces(values: T) -> Iterator[T]:
    """Parts of about equal length."""
    parts = -(-len(values) // AT_ONCE)
    bounds = [len(values) * number // parts for number in range(parts + 1)] if parts else []
    return (values[low:high] for low, high in pairwise(bounds))
