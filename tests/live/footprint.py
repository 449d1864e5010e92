"""What a process takes of its host and of the database, before a fault and after it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Self

import psutil

SHARE = 0.1
"""By how much it may differ and count as come back."""
MORE = {"resident_bytes": 64 << 20, "files": 8, "threads": 4, "sessions": 1}
"""And besides: what an allocator keeps for the next batch of Polars' and Arrow's; sockets that a
client opens to a broker it has not talked to before, with the thread for it; one session that is
about to be ended."""


@dataclass(frozen=True)
class Footprint:
    """Of several processes together. ``sessions`` are connections to PostgreSQL."""

    resident_bytes: int
    files: int
    threads: int
    sessions: int

    @classmethod
    def of(cls, processes: Iterable[psutil.Process], postgres_port: int) -> Self:
        """As it is now."""
        found = list(processes)
        return cls(
            resident_bytes=sum(one.memory_info().rss for one in found),
            files=sum(one.num_fds() for one in found),
            threads=sum(one.num_threads() for one in found),
            sessions=sum(_sessions(one, postgres_port) for one in found),
        )

    @classmethod
    def most(cls, found: Iterable[Self]) -> Self:
        """The most of each that any of them is."""
        each = [asdict(one) for one in found]
        return cls(**{name: max(one[name] for one in each) for name in each[0]})

    def beyond(self, before: Footprint, kept_bytes: int = 0) -> dict[str, tuple[int, int]]:
        """What has not come back: by name, what it was and what it is."""
        allowed = {**MORE, "resident_bytes": MORE["resident_bytes"] + kept_bytes}
        return {
            name: (was, now)
            for name, more in allowed.items()
            if (now := getattr(self, name)) > (was := getattr(before, name)) * (1 + SHARE) + more
        }


def _sessions(process: psutil.Process, port: int) -> int:
    return sum(
        bool(one.raddr) and one.raddr.port == port and one.status == psutil.CONN_ESTABLISHED
        for one in process.net_connections("tcp")
    )
