"""A limit on how fast records are read, so that a rebuild does not starve live work."""

from __future__ import annotations

import time
from collections.abc import Callable

_BURST_S = 0.25
_SLICE_S = 0.1


class Pace:
    """Lets at most ``rate`` records per second pass on average; None lets all pass.

    What was not used is saved for a quarter of a second, so that a pause for a checkpoint does
    not lower the rate. ``clock`` and ``sleep`` are in seconds.
    """

    def __init__(
        self,
        rate: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()

    def spend(self, records: int, stopping: Callable[[], bool]) -> None:
        """Counts records; waits until the rate allows more, or ``stopping`` says so."""
        if self._rate is None:
            return
        now = self._clock()
        self._free_at = max(self._free_at, now - _BURST_S) + records / self._rate
        while (left := self._free_at - self._clock()) > 0 and not stopping():
            self._sleep(min(left, _SLICE_S))
