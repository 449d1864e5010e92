"""Nothing stalls silently: what compares where the log is with where a worker is.

The ends of the log are asked for by a client of its own. When they move and the worker's
committed positions do not, its clients are built anew, and the worker says so; when that does not
help, the process ends with a named error, and whoever started it starts another.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace

import psutil

from kappa.errors import KappaError, Stalled
from kappa.log.ends import EndsWatch
from kappa.log.membership import Membership
from kappa.processing.source import Source
from kappa.runtime.live.pulse import Pulse, Standing
from kappa.runtime.live.standstill import DATABASE_AFTER_S, Remedy, Standstill, Stuck
from kappa.runtime.processes import Desk, Ended
from kappa.runtime.worker.spent import Spent
from kappa.runtime.worker.tenure import Tenure

EXIT_STATUS = 70
_LAST_WORD_S = 1.0

_ENDS = "the log goes on and this worker does not"
_REBUILDS = f"{_ENDS}: its clients are built anew"


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
        self._stood: tuple[Standing, ...] = ()
        self._preparing_since: float | None = None
        self._error: KappaError | None = None
        self._stalled: Stalled | None = None
        self._standstill = Standstill()
        self._clients_since = 0.0
        self._memory = psutil.Process()

    def prepare(self) -> None:
        """A tenure is about to begin: the servers are asked what there is."""
        self._preparing_since = time.monotonic()
        self.wants_new_client = False

    def rest(self) -> None:
        """There is nothing to do for now: standing still is what the worker is to do."""
        self._preparing_since = None
        self._gets_on()

    def watch(self, tenure: Tenure | None) -> None:
        """A tenure has begun, or (None) the last one is over."""
        if self._tenure is not None:
            self._stood = self._standing(self._tenure)
        self._tenure, self._preparing_since = tenure, None
        if tenure is not None:
            self._clients_since = time.monotonic()
            self.wants_new_client = False
            self._error = None

    def told(self, error: KappaError | None) -> None:
        """What the worker waits out; None where it has got something done."""
        self._error, self._preparing_since = error, None

    def lost(self) -> None:
        """Another worker has claimed what the last tenure was over."""
        self._stood = ()

    def look(self) -> None:
        """Tells how the worker is, and judges whether it gets on. To be called every second."""
        tenure = self._tenure
        self._send(tenure)
        if tenure is None:
            if self._error is not None:
                self._gets_on()  # a fault is known, shown, and tried again
            since = self._preparing_since
            if since is not None and time.monotonic() - since > DATABASE_AFTER_S:
                self._end(self._error_of(time.monotonic() - since, None, None))
        else:
            self._membership.advise(tenure.committed)
            self._judge(tenure)

    def _send(self, tenure: Tenure | None) -> None:
        spent = self.spent
        self._desk.send(
            Pulse(
                state=self._state(tenure),
                standing=self._left() if tenure is None else self._standing(tenure),
                fetch_s=spent.fetch_s,
                fold_s=spent.fold_s,
                commit_s=spent.commit_s,
                buffered_bytes=0 if tenure is None else tenure.buffered_bytes,
                resident_bytes=self._memory.memory_info().rss,
                error=self._trouble(tenure),
            )
        )

    def _state(self, tenure: Tenure | None) -> str:
        if self._trouble(tenure) is not None:
            return "waiting"
        if tenure is not None:
            return "following"
        return "idle" if self._membership.joined else "joining"

    def _trouble(self, tenure: Tenure | None) -> KappaError | None:
        """Why it waits, or a partition of it; None where all is well."""
        lacking = {} if tenure is None else tenure.aside.errors
        lacks = next(iter(lacking.values()), None)
        return self._error or self._ends.latest.error or self._stalled or lacks

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

    def _left(self) -> tuple[Standing, ...]:
        """Where the last tenure left what is held still: it waits, and the log may go on."""
        ends, held = self._ends.latest.by_partition, self._membership.partitions
        return tuple(
            replace(part, end=ends.get(part.partition))
            for part in self._stood
            if part.partition in held
        )

    def _watermark(self, max_event_time: int | None) -> int | None:
        return None if max_event_time is None else max_event_time - self._source.out_of_orderness_ms

    def _judge(self, tenure: Tenure) -> None:
        if self._error is not None:
            self._gets_on()
            return
        stuck = self._standstill.look(
            time.monotonic(),
            self._clients_since,
            dict(tenure.committed),
            self._ends.latest.by_partition,
            # A hold is over by itself, and a schema may come.
            excused={run.place.partition for run in tenure.runs if run.finished}
            | tenure.aside.errors.keys(),
            in_database=self.spent.waits_for == "database",
        )
        self._act(tenure, stuck)

    def _act(self, tenure: Tenure, stuck: Stuck | None) -> None:
        if stuck is None:
            self._stalled = None
        elif stuck.remedy is Remedy.END:
            self._end(self._error_of(stuck.seconds, stuck.partition, tenure))
        elif stuck.remedy is Remedy.REBUILD:
            self.wants_new_client = True
            self._stalled = self._error_of(stuck.seconds, stuck.partition, tenure, _REBUILDS)

    def _gets_on(self) -> None:
        """Whatever stands still from now on has only begun to."""
        self._standstill, self._stalled = Standstill(), None

    def _error_of(
        self, seconds: float, number: int | None, tenure: Tenure | None, message: str = _ENDS
    ) -> Stalled:
        waits_for = "the servers' first answer" if tenure is None else self.spent.waits_for
        return Stalled(
            message,
            topic=self._source.topic,
            partition=number,
            offset=None if tenure is None else tenure.committed.get(number or 0),
            log_end=None if number is None else self._ends.latest.by_partition.get(number),
            seconds=round(seconds),
            waits_for=waits_for or "its own processing",
            hint="a handler that never returns, or a connection that hangs: see its log",
        )

    def _end(self, error: Stalled) -> None:
        self._desk.send(Ended(error))
        self._desk.flush(_LAST_WORD_S)  # a supervisor that does not listen is not waited for
        os._exit(EXIT_STATUS)
