"""Nothing stalls silently: what compares where the log is with where a worker is.

The ends of the log are asked for by a client of its own. When they move and the worker's
committed positions do not, its clients are built anew; when that does not help, the process
ends with a named error, and whoever started it starts another.
"""

from __future__ import annotations

import os
import time

import psutil

from kappa.errors import KappaError, Stalled
from kappa.log.ends import EndsWatch
from kappa.log.membership import Membership
from kappa.processing.source import Source
from kappa.runtime.live.pulse import Pulse, Standing
from kappa.runtime.processes import Desk, Ended
from kappa.runtime.worker.spent import Spent
from kappa.runtime.worker.tenure import Tenure

REBUILD_AFTER_S = 15.0
"""Without progress, while there is something to read, before clients are built anew."""
END_AFTER_S = 45.0
"""Without progress before the process ends."""
DATABASE_AFTER_S = 90.0
"""The same while a commit is under way: a database that is paused can come back with it."""
EXIT_STATUS = 70


class Watchdog:
    """Watches one worker and reports its pulse.

    Args:
        source: what the worker reads.
    """

    def __init__(self, source: Source, ends: EndsWatch, membership: Membership, desk: Desk) -> None:
        self.spent = Spent()
        self.wants_new_client = False
        self._source = source
        self._ends = ends
        self._membership = membership
        self._desk = desk
        self._tenure: Tenure | None = None
        self._preparing_since: float | None = None
        self._error: KappaError | None = None
        self._moved_at: dict[int, tuple[int, float]] = {}
        self._memory = psutil.Process()

    def prepare(self) -> None:
        """A tenure is about to begin: the servers are asked what there is."""
        self._preparing_since = time.monotonic()

    def watch(self, tenure: Tenure | None) -> None:
        """A tenure has begun, or (None) the last one is over."""
        self._tenure, self._preparing_since = tenure, None
        if tenure is not None:
            self.wants_new_client = False
            self._error = None

    def told(self, error: KappaError | None) -> None:
        """What the worker waits out; None where it has got something done."""
        self._error, self._preparing_since = error, None

    def look(self) -> None:
        """Tells how the worker is, and judges whether it gets on. To be called every second."""
        tenure = self._tenure
        self._send(tenure)
        if tenure is None:
            self._moved_at.clear()
            since = self._preparing_since
            if since is not None and time.monotonic() - since > DATABASE_AFTER_S:
                self._end(time.monotonic() - since, None, None)
        else:
            self._membership.advise(tenure.committed)
            self._judge(tenure)

    def _send(self, tenure: Tenure | None) -> None:
        spent = self.spent
        self._desk.send(
            Pulse(
                state=self._state(tenure),
                standing=() if tenure is None else self._standing(tenure),
                fetch_s=spent.fetch_s,
                fold_s=spent.fold_s,
                commit_s=spent.commit_s,
                buffered_bytes=0 if tenure is None else tenure.buffered_bytes,
                resident_bytes=self._memory.memory_info().rss,
                error=self._error or self._ends.latest.error,
            )
        )

    def _state(self, tenure: Tenure | None) -> str:
        if self._error is not None or self._ends.latest.error is not None:
            return "waiting"
        if tenure is not None:
            return "following"
        return "idle" if self._membership.joined else "joining"

    def _standing(self, tenure: Tenure) -> tuple[Standing, ...]:
        ends = self._ends.latest.by_partition
        return tuple(
            Standing(
                topic=run.place.topic,
                partition=run.place.partition,
                next_offset=tenure.committed[run.place.partition],
                end=ends.get(run.place.partition),
                max_event_time=run.clock.max_event_time,
                watermark=self._watermark(run.clock.max_event_time),
            )
            for run in tenure.runs
        )

    def _watermark(self, max_event_time: int | None) -> int | None:
        return None if max_event_time is None else max_event_time - self._source.out_of_orderness_ms

    def _judge(self, tenure: Tenure) -> None:
        """How long the partition that waits longest has had something to read and not moved."""
        now = time.monotonic()
        ends = self._ends.latest.by_partition
        held = {run.place.partition for run in tenure.runs if run.finished}
        waits: list[tuple[float, int]] = []
        # What went to others and comes back has not stood still meanwhile.
        self._moved_at = {n: at for n, at in self._moved_at.items() if n in tenure.committed}
        for number, position in list(tenure.committed.items()):
            stood, since = self._moved_at.get(number, (position, now))
            # A fault is known, shown, and tried again; a hold is over by itself.
            waited_out = self._error is not None or number in held
            if stood != position or ends.get(number, 0) <= position or waited_out:
                since = now
            self._moved_at[number] = (position, since)
            waits.append((now - since, number))
        longest, number = max(waits, default=(0.0, -1))
        in_database = self.spent.waits_for == "database"
        if longest > (DATABASE_AFTER_S if in_database else END_AFTER_S):
            self._end(longest, number, tenure)
        elif longest > REBUILD_AFTER_S:
            self.wants_new_client = True

    def _end(self, seconds: float, number: int | None, tenure: Tenure | None) -> None:
        waits_for = "the servers' first answer" if tenure is None else self.spent.waits_for
        error = Stalled(
            "the log goes on and this worker does not",
            topic=self._source.topic,
            partition=number,
            offset=None if tenure is None else tenure.committed.get(number or 0),
            log_end=None if number is None else self._ends.latest.by_partition.get(number),
            seconds=round(seconds),
            waits_for=waits_for or "its own processing",
            hint="a handler that never returns, or a connection that hangs: see its log",
        )
        self._desk.send(Ended(error))
        os._exit(EXIT_STATUS)
