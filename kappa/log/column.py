"""Keys and values of many records: an Arrow column that reads like a list of bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray


class BytesColumn(Sequence[bytes | None]):
    """Bytes, or None where a record has none, without a Python object for each.

    Slicing copies nothing. Whatever takes Arrow data (Polars, pyarrow) takes the whole column
    as it is; going through it value by value makes the objects.
    """

    __slots__ = ("_values",)

    def __init__(self, chunks: Sequence[pa.BinaryArray]) -> None:
        self._values = pa.chunked_array(chunks, type=pa.binary())

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> BytesColumn:
        """The column of a list."""
        found = pa.array(values, pa.binary())
        return cls(found.chunks if isinstance(found, pa.ChunkedArray) else [found])

    @property
    def size_bytes(self) -> int:
        """Memory that the values take."""
        return int(self._values.nbytes)

    def kept(self, keep: NDArray[np.bool_]) -> BytesColumn:
        """The values where ``keep`` holds."""
        return BytesColumn(self._values.filter(pa.array(keep)).chunks)

    def to_polars(self) -> pl.Series:
        """The column as Polars has it, of type Binary."""
        found = pl.from_arrow(self._values)
        assert isinstance(found, pl.Series)
        return found.rechunk()

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[bytes | None]:
        for chunk in self._values.iterchunks():
            yield from chunk.to_pylist()

    @overload
    def __getitem__(self, at: int) -> bytes | None: ...
    @overload
    def __getitem__(self, at: slice) -> BytesColumn: ...
    def __getitem__(self, at: int | slice) -> bytes | BytesColumn | None:
        if isinstance(at, slice):
            return BytesColumn(self._values[at].chunks)
        found: bytes | None = self._values[at].as_py()
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"BytesColumn.of({list(self)!r})"

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._values.__arrow_c_stream__(requested_schema)
