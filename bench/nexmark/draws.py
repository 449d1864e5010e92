"""Random numbers that are the same on every machine and with every version of NumPy.

NumPy promises that of a bit generator's raw output only, and of no function such as ``pow``; so
everything is made of raw bits by whole numbers, and by products of doubles.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from bench.nexmark.config import Whole

_LOW_32 = np.uint64(32)


class Draws:
    """One sequence of random numbers, named by whole numbers of which the first is the seed."""

    def __init__(self, *name: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(name))

    def below(self, bound: int | Whole, size: int) -> Whole:
        """Whole numbers from 0 to ``bound`` exclusive, uniform; a bound is at most 2**31."""
        high = self._raw(size) >> _LOW_32
        return ((high * np.asarray(bound, dtype=np.uint64)) >> _LOW_32).astype(np.int64)

    def one_in(self, ratio: int, size: int) -> NDArray[np.bool_]:
        """True once in ``ratio`` times on average."""
        return np.equal(self.below(ratio, size), 0)

    def prices(self, size: int) -> Whole:
        """Cents: 100 * 10**(6 u) with a uniform u, rounded (PriceGenerator of Flink and Beam)."""
        raw = self._raw(size)
        product = np.full(size, 100.0)
        for digit, powers in enumerate(_POWERS):
            shift = np.uint64(64 - _DIGIT_BITS * (digit + 1))
            product *= powers[(raw >> shift) & np.uint64(_DIGITS - 1)]
        return np.floor(product + 0.5).astype(np.int64)

    def _raw(self, size: int) -> NDArray[np.uint64]:
        return np.asarray(self._bits.random_raw(size), dtype=np.uint64)


_DIGIT_BITS = 11
_DIGITS = 1 << _DIGIT_BITS


def _powers(digit: int) -> NDArray[np.float64]:
    """10**(6 d / 2048**(digit + 1)) for each d: a third of what makes a price, see prices."""
    unit = Decimal(6) / Decimal(_DIGITS) ** (digit + 1)
    return np.array([float(Decimal(10) ** (unit * d)) for d in range(_DIGITS)])


_POWERS = [_powers(digit) for digit in range(3)]
"""u is three digits of base 2048, and 10**(6 u) the product of their powers."""
