"""How many rows that change are sent at once."""

from __future__ import annotations

from kappa.tables import outbox


class BatchSize:
    """What such rows weigh is known once they have been read, and what the broker makes of them
    once they are published. So batches begin with one row and at most double.

    A relay that fails, or ends, in too large a batch has got on before it, and the next begins
    anew.

    Attributes:
        rows: how many to take next, at least one and at most as many as were given.
    """

    def __init__(self, most: int) -> None:
        self.rows = 1
        self._most = most

    def sent(self, rows: int, size: int) -> None:
        """So many rows of so many bytes were published."""
        if size > outbox.BATCH_BYTES:
            self.rows = max(rows // 2, 1)
        elif rows == self.rows and size <= outbox.BATCH_BYTES // 2:
            self.rows = min(2 * rows, self._most)
