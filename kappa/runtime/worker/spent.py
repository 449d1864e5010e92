"""Where a worker's time goes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Spent:
    """Where the time went so far, in seconds: waiting for records, folding, waiting for commits.

    ``waits_for`` names what is waited for at the moment; None while folding, and ``work``
    between two tenures.
    """

    fetch_s: float = 0.0
    fold_s: float = 0.0
    commit_s: float = 0.0
    waits_for: str | None = "work"
    since: float = field(default_factory=time.monotonic)

    def turn(self, waits_for: str | None) -> None:
        """Something else begins."""
        now = time.monotonic()
        took, self.since = now - self.since, now
        if self.waits_for == "records":
            self.fetch_s += took
        elif self.waits_for == "database":
            self.commit_s += took
        elif self.waits_for is None:
            self.fold_s += took
        self.waits_for = waits_for
