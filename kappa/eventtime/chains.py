"""Chains: spans of event time of one key, each less than a gap away from the next.

    gap 4        0   2   4   6   8   10  12  14
    spans        [-------]       |
                     [-------]           |   |
    chains       [---------------]       [---]

What is not of one chain never meets in one session, in whatever order it comes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


def chains(key: Numbers, first: Numbers, last: Numbers, gap: int) -> tuple[Numbers, int]:
    """The chain that each span is part of, and how many there are; numbered from 0.

    A span has a key and two ends, ``first <= last``, both part of it.
    """
    if not len(key):
        return np.empty(0, dtype=np.int64), 0
    order, apart = _in_order(key, first, last, gap)
    of_span = np.empty(len(key), dtype=np.int64)
    of_span[order] = np.concatenate(([0], np.cumsum(apart)))
    return of_span, int(np.count_nonzero(apart)) + 1


def _in_order(
    key: Numbers, first: Numbers, last: Numbers, gap: int
) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """The spans by key and time, and where a gap or a key lies between one and the next."""
    low, origin = int(key.min()), int(first.min())
    width = (int(last.max()) - origin + gap).bit_length()
    if (int(key.max()) - low + 1) << width < 1 << 63:
        # All keys one after the other on one line of time, a gap between them.
        shift = ((key - low) << width) - origin
        begin = shift + first
        order = np.argsort(begin)
        reached = np.maximum.accumulate((shift + last)[order])
        return order, begin[order][1:] - reached[:-1] >= gap
    order = np.lexsort((first, key))
    by_last = np.lexsort((last, key))
    place = np.empty(len(key), dtype=np.int64)
    place[by_last] = np.arange(len(key))
    reached = last[by_last[np.maximum.accumulate(place[order])]]
    begin, owner = first[order], key[order]
    return order, (owner[1:] != owner[:-1]) | (begin[1:] - reached[:-1] >= gap)
