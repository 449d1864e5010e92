"""HyperLogLog: a few thousand registers that tell how many different values there were.

A value's hash picks a register by its first bits, and offers it the place of the first bit
set among the others. A register keeps the greatest it was offered, so registers merge by
maxima, whatever the order. They are estimated from as in O. Ertl, "New cardinality estimation
algorithms for HyperLogLog sketches" (2017), which needs no tables and no threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import numpy as np
import numpy.typing as npt
import polars as pl
from polars_hash import NonCryptographicHashingNameSpace as Hashing

from kappa.processing.aggregates.sketches.packed import Format, Packing, binary, groups, steps
from kappa.processing.aggregates.sketches.plain import plain

PRECISIONS = range(7, 17)
"""How many bits of a hash may pick the register. With fewer the estimator has a bias."""

_HASH_BITS = 64
_PLACE_BITS = 6
_PLACES = (1 << _PLACE_BITS) - 1
_ALPHA = 0.7213475204444817
"""1 / (2 ln 2)"""

Contents = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Registers:
    """HyperLogLog over values of ``dtype``, with 2**``precision`` registers.

    Registers that are set go by a *code*, their number times 64 plus what they hold. A partial
    lists these in order, as steps, while fewer than a quarter are set; then it is the contents
    of all registers, a byte each.
    """

    dtype: pl.DataType
    precision: int
    result = pl.Int64()

    def prepared(self, inputs: Sequence[pl.Expr], rank: pl.Expr) -> pl.Expr:
        """The code of the register that the value sets if it stands alone."""
        canonical = plain(inputs[0], self.dtype)
        if not isinstance(self.dtype, pl.Binary):
            canonical = canonical.cast(pl.String)
        hashed = Hashing(canonical).xxhash64(seed=0)
        number = hashed // (1 << (_HASH_BITS - self.precision))
        # A bit behind the last one ends the search where none is set.
        others = hashed * (1 << self.precision) | (1 << (self.precision - 1))
        place = others.bitwise_leading_zeros() + 1
        return (number * (1 << _PLACE_BITS) + place).cast(pl.UInt32)

    def gathered(self, prepared: pl.Expr) -> pl.Expr:
        return prepared.unique().sort()

    def partials(self, gathered: pl.Series) -> pl.Series:
        return binary([self._pack(codes) if codes else None for codes in groups(gathered)])

    def merge(self, partials: Sequence[bytes]) -> bytes:
        bodies = [_PACKING.unpack(partial) for partial in partials]
        few = (accumulate(body) for body in bodies if isinstance(body, list))
        codes = sorted(set(chain.from_iterable(few)))
        full = [_contents(body) for body in bodies if isinstance(body, bytes)]
        if not full:
            return self._pack(codes)
        contents = np.maximum.reduce([self._scattered(codes), *full])
        return _PACKING.pack(contents.tobytes())

    def shown(self, partials: pl.Series) -> pl.Series:
        width = _HASH_BITS - self.precision + 2
        held = np.zeros((len(partials), width), np.int64)
        cells: list[int] = []
        for row, partial in enumerate(partials):
            body = [] if partial is None else _PACKING.unpack(partial)
            if isinstance(body, bytes):
                held[row] = np.bincount(_contents(body), minlength=width)
            else:
                cells.extend(row * width + (code & _PLACES) for code in accumulate(body))
                held[row, 0] = (1 << self.precision) - len(body)
        held += np.bincount(np.array(cells, np.int64), minlength=held.size).reshape(held.shape)
        return pl.Series(np.rint(estimates(held)).astype(np.int64))

    def _pack(self, offered: list[int]) -> bytes:
        """The partial of codes in order; of those of one register the last counts."""
        codes = {code >> _PLACE_BITS: code for code in offered}
        if 4 * len(codes) < 1 << self.precision:
            return _PACKING.pack(steps(list(codes.values())))
        return _PACKING.pack(self._scattered(codes.values()).tobytes())

    def _scattered(self, codes: Iterable[int]) -> Contents:
        """What all registers hold after these codes; of those of one register the last counts."""
        contents = bytearray(1 << self.precision)
        for code in codes:
            contents[code >> _PLACE_BITS] = code & _PLACES
        return np.frombuffer(contents, np.uint8)


_PACKING: Packing[list[int] | bytes] = Packing(Format.REGISTERS, list[int] | bytes)


def _contents(body: bytes) -> Contents:
    return np.frombuffer(body, np.uint8)


def estimates(held: Ints) -> Doubles:
    """How many values were seen, for each row of ``held``.

    ``held[row, v]`` is how many registers hold v: 0 that nothing was offered, the last that no
    bit was set. Only operations whose results IEEE 754 fixes are used, so that every machine
    comes to the same double.
    """
    registers = held.sum(axis=1).astype(np.float64)
    counts = held.astype(np.float64)
    last = held.shape[1] - 1
    total = registers * _tau(1.0 - counts[:, last] / registers)
    for place in range(last - 1, 0, -1):
        total = 0.5 * (total + counts[:, place])
    with np.errstate(divide="ignore", over="ignore"):
        total = total + registers * _sigma(counts[:, 0] / registers)
        seen: Doubles = _ALPHA * registers * registers / total
    return seen


def _sigma(empty: Doubles) -> Doubles:
    """x + the sum over k of 2**(k-1) x**(2**k), for x the share of registers not set."""
    power, weight = empty, 1.0
    total = np.where(empty == 1.0, np.inf, empty)
    while True:
        power = power * power
        grown = total + np.where(empty == 1.0, 0.0, power * weight)
        if np.array_equal(grown, total):
            return total
        total, weight = grown, weight + weight


def _tau(below: Doubles) -> Doubles:
    """(1 - x - the sum over k of 2**-k (1 - x**(2**-k))**2) / 3, for x the share below last."""
    root, weight = below, 1.0
    total = np.where(below == 0.0, 0.0, 1.0 - below)
    while True:
        root, weight = np.sqrt(root), weight * 0.5
        rest = 1.0 - root
        shrunk = total - np.where(below == 0.0, 0.0, rest * rest * weight)
        if np.array_equal(shrunk, total):
            return total / 3.0
        total = shrunk
