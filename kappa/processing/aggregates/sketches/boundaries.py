"""The boundaries of DDSketch's buckets, the same doubles on every machine.

With gamma = (1 + accuracy) / (1 - accuracy) bucket i holds the values in (gamma**(i-1),
gamma**i]. The logarithm of a double differs in its last bit from one C library to another, and
with it, at a boundary, the bucket. So values are compared with a table, which is made with
decimal arithmetic and single multiplications, whose results are laid down to the last bit.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int32]
Doubles = npt.NDArray[np.float64]

SMALLEST = sys.float_info.min
"""Values nearer to zero than this (2.2e-308) count as zero."""

_BLOCK = 256
_DIGITS = Context(prec=40)


@dataclass(frozen=True, eq=False)
class Boundaries:
    """Buckets whose values are all within ``accuracy`` of the one that stands for them.

    A bucket goes by a *code*: 0 for zero, positive and ascending for positive values, and the
    negative of it for the negative values of the same size. Codes ascend as values do.
    """

    accuracy: float
    upper: Doubles

    def codes(self, values: Doubles) -> Codes:
        """The bucket of each of the values, which are finite."""
        sizes = np.abs(values)
        found = np.searchsorted(self.upper, sizes).astype(np.int32)
        found[sizes < SMALLEST] = 0
        return np.where(values < 0, -found, found)

    def value(self, code: int) -> float:
        """What stands for the values of a bucket."""
        size = abs(code)
        if size == 0:
            return 0.0
        value = min(float(self.upper[size - 1]) * (1 + self.accuracy), sys.float_info.max)
        return value if code > 0 else -value


@lru_cache(maxsize=16)
def boundaries(accuracy: float) -> Boundaries:
    """The buckets of this accuracy."""
    with localcontext(_DIGITS):
        share = Decimal(repr(accuracy))
        gamma = (1 + share) / (1 - share)
        below = math.ceil(-Decimal(SMALLEST).ln() / gamma.ln()) + 1
        above = math.ceil(Decimal(sys.float_info.max).ln() / gamma.ln())
        rising, falling = _powers(gamma, above), _powers(1 / gamma, below)
    return Boundaries(accuracy, np.concatenate([falling[:0:-1], rising]))


def _powers(base: Decimal, last: int) -> Doubles:
    """The powers 0 to ``last`` of a number, to within two units in the last place."""
    within = np.array([float(base**power) for power in range(_BLOCK)])
    begins = np.array([float(base**power) for power in range(0, last + 1, _BLOCK)])
    with np.errstate(over="ignore"):
        powers: Doubles = np.outer(begins, within).ravel()[: last + 1]
    return powers
