"""The text of uuids, many at once."""

from __future__ import annotations

import uuid

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

TEXT_LENGTH = 36

_HYPHENS = (8, 13, 18, 23)
_DIGITS = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_DIGIT_PLACES = np.array([place for place in range(TEXT_LENGTH) if place not in _HYPHENS])

_KINDS = np.zeros(256, dtype=np.uint8)
_KINDS[_DIGITS] = 1
_KINDS[np.frombuffer(b"ABCDEF", dtype=np.uint8)] = 2


def canonical(texts: NDArray[np.uint8]) -> bool | None:
    """Whether these texts, a row of 36 bytes each, are uuids with lower-case digits only.

    None if one is no uuid, or spelled in another way than with four hyphens.
    """
    if not len(texts):
        return True
    if (texts[:, _HYPHENS] != ord("-")).any():
        return None
    kinds = _KINDS[texts[:, _DIGIT_PLACES]]
    return None if kinds.min() == 0 else bool(kinds.max() == 1)


def texts_of(column: pa.Array) -> pa.Array:
    """The canonical texts of uuids that are 16 bytes each; null stays null."""
    return pa.array(
        [None if raw is None else str(uuid.UUID(bytes=raw)) for raw in column.to_pylist()],
        pa.string(),
    )
