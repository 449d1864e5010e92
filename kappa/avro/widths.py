"""How many bytes values take in Avro's shortest encoding, row by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SHORT = 64
"""Integers from -64 to 63 take one byte; with each byte more the range grows by seven bits."""

Mask = NDArray[np.bool_] | None
"""Which rows hold a value that was written; None where all do."""


class Sizes:
    """What the values of each row of a column, or of several, take together.

    Most of it is the same for every row, so that part is one number.
    """

    def __init__(self, rows: int, each: int = 0) -> None:
        self._count = rows
        self._each = each
        self._rows: NDArray[np.int32] | None = None

    def add(self, width: int | NDArray[np.integer], written: Mask) -> None:
        """Adds ``width`` bytes to every row that was written."""
        if written is not None:
            width = written * width
        if isinstance(width, int):
            self._each += width
        elif self._rows is None:
            self._rows = width.astype(np.int32)
        else:
            self._rows += width

    def add_varints(self, values: NDArray[np.signedinteger], written: Mask) -> None:
        """Adds the widths of integers, one per row; where none was written, any number."""
        if written is None:
            self.add(varint_widths(values), None)
            return
        widths = np.zeros(self._count, dtype=np.uint8)
        widths[written] = varint_widths(values[written])
        self.add(widths, None)

    def per_row(self) -> NDArray[np.int32]:
        """The bytes of each row."""
        if self._rows is None:
            return np.full(self._count, self._each, dtype=np.int32)
        return self._rows + self._each


def varint_widths(values: NDArray[np.signedinteger]) -> int | NDArray[np.uint8]:
    """The bytes each integer takes; one number if it is the same for all."""
    if not len(values):
        return 1
    least, most = int(values.min()), int(values.max())
    if least < 0:
        # A number and its complement, 3 and -4, are as long as each other.
        values = values ^ (values >> (8 * values.itemsize - 1))
        least, most = int(values.min()), int(values.max())
    narrowest, widest = _width(least), _width(most)
    if narrowest == widest:
        return narrowest
    widths = np.full(len(values), narrowest, dtype=np.uint8)
    for width in range(narrowest, widest):
        widths += (values >= _SHORT << 7 * (width - 1)).view(np.uint8)
    return widths


def _width(number: int) -> int:
    """The bytes of one integer that is not negative."""
    return number.bit_length() // 7 + 1
