"""What a reader of a table has seen of the ticks, and when."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import psycopg
from numpy.typing import NDArray

from bench.stream import PARTITIONS
from bench.ticks import Sent

_POLL_S = 0.001


@dataclass
class Seen:
    """Looks, one after the other: when the answer was there, and the latest tick in it.

    Times are µs since 1970. Ticks of a lane come in the order they were sent, so whoever sees one
    sees all before it.
    """

    at: list[int] = field(default_factory=list)
    latest: list[list[int]] = field(default_factory=lambda: [[] for _ in range(PARTITIONS)])

    def add(self, at: int, latest: Sequence[int]) -> None:
        """One more look."""
        self.at.append(at)
        for lane, newest in zip(self.latest, latest, strict=True):
            lane.append(newest)

    def latencies(self, sent: Sent) -> NDArray[np.int64]:
        """From send to seen, of every tick in the order of lanes, in µs.

        Raises:
            LookupError: a tick was never seen.
        """
        at = np.array(self.at, dtype=np.int64)
        found = []
        for lane, times in enumerate(sent):
            look = np.searchsorted(np.array(self.latest[lane], dtype=np.int64), times)
            if len(times) and look[-1] == len(at):
                raise LookupError(f"ticks of lane {lane} were never seen")
            found.append(at[look] - times)
        return np.concatenate(found)


def watch(connection: psycopg.Connection, table: str, enough: Callable[[Seen], bool]) -> Seen:
    """Looks about every millisecond at what ``table`` shows, until it is ``enough``."""
    seen = Seen()
    while not enough(seen):
        latest = look(connection, table)
        seen.add(time.time_ns() // 1000, latest)
        time.sleep(_POLL_S)
    return seen


def look(connection: psycopg.Connection, table: str) -> list[int]:
    """The latest tick of each lane; 0 where there is none."""
    rows = connection.execute(
        "SELECT (SELECT coalesce((extract(epoch FROM max(sent)) * 1000000)::bigint, 0)"
        f" FROM {table} AS t WHERE t.lane = lanes.lane)"
        f" FROM generate_series(0, {PARTITIONS - 1}) AS lanes (lane) ORDER BY lanes.lane"
    )
    return [latest for (latest,) in rows]
