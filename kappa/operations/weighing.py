"""What lies in the database: disk that versions take, rows that wait to leave. As metrics."""

from __future__ import annotations

import time
from functools import partial

from sqlalchemy import Connection

from kappa.errors import KappaError
from kappa.operations.background import Background
from kappa.runtime.live.observer import Post, Relay, Worker
from kappa.runtime.live.pulse import Note, Pulse
from kappa.runtime.relay.sending import Relayed
from kappa.runtime.worker.job import Report
from kappa.tables import outbox
from kappa.tables.sizes import table_sizes
from kappa.telemetry.metrics import Metrics

_EVERY_S = 30.0


class Weighing:
    """An observer that looks at the tables of each version every half minute."""

    def __init__(self, metrics: Metrics, background: Background) -> None:
        self._metrics = metrics
        self._background = background
        self._due: dict[Post, float] = {}

    def started(self, worker: Worker) -> None:
        """The first pulse comes soon."""

    def report(self, worker: Worker, report: Report) -> None:
        """Says nothing of disks."""

    def pulse(self, worker: Worker, pulse: Pulse) -> None:
        post, now = worker.post, time.monotonic()
        if post.number == 0 and now >= self._due.get(post, 0.0):
            self._due[post] = now + _EVERY_S
            self._background.do(partial(self._weigh, post))

    def note(self, worker: Worker, note: Note) -> None:
        """Says nothing of disks."""

    def failed(self, worker: Worker, error: KappaError, again_in_s: float) -> None:
        """The tables stay."""

    def ended(self, worker: Worker) -> None:
        self._due.pop(worker.post, None)

    def relay_started(self, relay: Relay) -> None:
        """Says nothing of disks."""

    def relayed(self, relay: Relay, relayed: Relayed) -> None:
        """Says nothing of disks."""

    def relay_failed(self, relay: Relay, error: KappaError, again_in_s: float) -> None:
        """Says nothing of disks."""

    def relay_ended(self, relay: Relay) -> None:
        """Says nothing of disks."""

    def trouble(self, error: KappaError) -> None:
        """Says nothing of disks."""

    def _weigh(self, post: Post, connection: Connection) -> None:
        for (processor, output), (waiting, _) in outbox.backlog(connection).items():
            if processor == post.processor:
                self._metrics.outbox(processor, output, waiting)
        for table, size_bytes in table_sizes(connection, post.processor, post.version).items():
            self._metrics.table(post.processor, post.version, table, size_bytes)
