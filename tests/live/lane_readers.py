"""Reads a view of lanes in many threads: ``python -m tests.live.lane_readers JSON``.

Each reader checks what it sees against what it has seen before. At the end of standard input it
prints how many reads there were, by the slowest reader too, what was wrong, and how long the
longest took.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import asdict, dataclass, field

import psycopg

Session = psycopg.Connection[tuple[int, ...]]

PAUSE_S = 0.004
MOST_TOLD = 10


@dataclass
class Seen:
    """What one reader, or all together, met."""

    reads: int = 0
    longest_s: float = 0.0
    errors: list[str] = field(default_factory=list)
    backward: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)

    def add(self, other: Seen) -> None:
        self.reads += other.reads
        self.longest_s = max(self.longest_s, other.longest_s)
        self.errors += other.errors
        self.backward += other.backward
        self.gaps += other.gaps


class Reader(threading.Thread):
    """A session that reads the view again and again."""

    def __init__(self, url: str, view: str, stop: threading.Event) -> None:
        super().__init__()
        self.seen = Seen()
        self._url = url
        self._view = view
        self._stopping = stop

    def run(self) -> None:
        reached: dict[int, int] = {}
        try:
            with psycopg.connect(self._url, autocommit=True) as connection:
                while not self._stopping.wait(PAUSE_S):
                    self._read(connection, reached)
        except psycopg.Error as error:
            self.seen.errors.append(f"{type(error).__name__}: {error}")

    def _read(
        self, connection: psycopg.Connection[tuple[int, ...]], reached: dict[int, int]
    ) -> None:
        began = time.monotonic()
        rows = connection.execute(f"SELECT lane, latest, ticks FROM {self._view}").fetchall()
        self.seen.longest_s = max(self.seen.longest_s, time.monotonic() - began)
        self.seen.reads += 1
        found = {lane: latest for lane, latest, _ in rows}
        for lane, latest, ticks in rows:
            if ticks != latest + 1:
                self.seen.gaps.append(f"lane {lane}: {ticks} ticks up to number {latest}")
        for lane, latest in reached.items():
            if found.get(lane, -1) < latest:
                self.seen.backward.append(f"lane {lane}: {found.get(lane)} after {latest}")
        reached.update(found)


def main() -> None:
    """Reads its orders from the command line, its end from standard input."""
    orders = json.loads(sys.argv[1])
    stop = threading.Event()
    readers = [Reader(orders["url"], orders["view"], stop) for _ in range(orders["readers"])]
    began = time.monotonic()
    for reader in readers:
        reader.start()
    sys.stdin.read()
    stop.set()
    together = Seen()
    for reader in readers:
        reader.join()
        together.add(reader.seen)
    seconds = time.monotonic() - began
    for listed in (together.errors, together.backward, together.gaps):
        del listed[MOST_TOLD:]
    fewest = min(reader.seen.reads for reader in readers)
    print(json.dumps({**asdict(together), "fewest": fewest, "hertz": fewest / seconds}))


if __name__ == "__main__":
    main()
