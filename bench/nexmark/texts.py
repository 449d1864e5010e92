"""Random text as the published StringsGenerator makes it, a column at a time."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import polars as pl
import pyarrow as pa

from bench.nexmark.config import Whole
from bench.nexmark.draws import Draws

_SHORTEST = 3
_SPECIAL_IN = 13
_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
_POOL_BYTES = 1 << 20
_POOL = 0
"""Names the sequence of random numbers that makes what fillers are cut out of."""


def words(draws: Draws, size: int, longest: int, special: str = " ") -> pl.Series:
    """Texts of 3 to ``longest`` - 1 letters, one in thirteen of them ``special``; then trimmed."""
    lengths = _SHORTEST + draws.below(longest - _SHORTEST, size)
    drawn = draws.below(_SPECIAL_IN * len(_LETTERS), int(lengths.sum()))
    alphabet = special.encode() * len(_LETTERS) + _LETTERS * (_SPECIAL_IN - 1)
    letters = np.frombuffer(alphabet, dtype=np.uint8)[drawn]
    ends = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(letters)]
    column = pl.Series(pa.Array.from_buffers(pa.large_string(), size, buffers))
    return column.str.strip_chars()


def choices(draws: Draws, size: int, among: list[str]) -> pl.Series:
    """One of ``among`` each."""
    return pl.Series(among).gather(draws.below(len(among), size))


def fillers(draws: Draws, seed: int, used: Whole, average: int) -> pl.Series:
    """Letters that bring events of ``used`` bytes to ``average`` bytes, give or take a fifth.

    They are cut out of one long text, which the seed alone decides (nextExtra).
    """
    rest = np.maximum(average - used, 0)
    fifth = (rest * 2 + 5) // 10
    lengths = rest - fifth + draws.below(2 * fifth, len(used))
    offsets = draws.below(_POOL_BYTES - lengths, len(used))
    cut = pl.lit(_pool(seed)).bin.slice(pl.col("offset"), pl.col("length")).cast(pl.String)
    return pl.DataFrame({"offset": offsets, "length": lengths}).select(cut).to_series()


@lru_cache(maxsize=4)
def _pool(seed: int) -> bytes:
    drawn = Draws(seed, _POOL).below(len(_LETTERS), _POOL_BYTES)
    return np.frombuffer(_LETTERS, dtype=np.uint8)[drawn].tobytes()


def length(column: pl.Series) -> Whole:
    """Bytes of each text."""
    return column.str.len_bytes().cast(pl.Int64).to_numpy()
