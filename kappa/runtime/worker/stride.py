"""How many records of one partition are folded before anything else is looked at."""

from __future__ import annotations

SHORTEST = 8_192
"""Records folded at once, at least, where handlers are quick and no checkpoint comes first."""
_FIRST = 100
"""Records folded before it is known how fast that goes, where they are folded in columns."""
_LONGEST_S = 2.0
"""About, by how fast the stride before was."""


class Stride:
    """Long strides are cheap. Near a checkpoint they get shorter: what partitions are apart then
    are windows written in several parts, to be merged when the build ends.

    Where handlers are slow they are as short as it takes: within a stride nothing is committed,
    and nobody asks whether to stop.

    Args:
        one_by_one: whether records are handled one by one. Then a single one can take seconds,
            and the next another time than the last: strides begin with one record and at most
            double, so that a worker that ends in too long a one has got on before it.
    """

    def __init__(self, *, one_by_one: bool = False) -> None:
        self._one_by_one = one_by_one
        self._per_second: float | None = None
        self._proven = 0
        self.has_grown = False
        """Whether the last stride was longer than any before: it is to be committed before a
        longer one is tried. Only where records are handled one by one."""

    def next(self, left: int, partitions: int) -> int:
        """Records, with so many ``left`` before the checkpoint and so many partitions to read."""
        records = min(left, max(left // (2 * partitions), SHORTEST))
        most = _FIRST if self._per_second is None else int(self._per_second * _LONGEST_S)
        if self._one_by_one:
            most = min(most, 2 * self._proven)
        return max(min(records, most), 1)

    def took(self, records: int, seconds: float) -> None:
        """So many were folded in so long."""
        if records:
            self._per_second = records / max(seconds, 1e-6)
        self.has_grown = self._one_by_one and self._proven < records
        self._proven = max(self._proven, records)
