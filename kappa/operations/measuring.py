"""What a supervisor's workers say, as metrics."""

from __future__ import annotations

from uuid import UUID

from kappa.errors import KappaError
from kappa.runtime.live.observer import Post, Relay, Worker
from kappa.runtime.live.pulse import Note, Pulse
from kappa.runtime.relay.sending import Relayed
from kappa.runtime.worker.job import Report
from kappa.telemetry.metrics import Metrics

BUSY = 0.05
"""A worker at the end of its log that folds and commits for less of its time has no bottleneck."""


def bottleneck(before: Pulse, now: Pulse) -> str | None:
    """Where most of the time between two pulses of a worker went.

    ``source``, ``processing`` or ``database``; None where it had next to nothing to do or has
    read all there is.
    """
    spent = {
        "source": now.fetch_s - before.fetch_s,
        "processing": now.fold_s - before.fold_s,
        "database": now.commit_s - before.commit_s,
    }
    total = sum(spent.values())
    behind = any(part.end is not None and part.next_offset < part.end for part in now.standing)
    if total <= 0:
        return None
    if spent["source"] > (1 - BUSY) * total and not behind:
        return None
    return max(spent, key=lambda name: spent[name])


class Measuring:
    """An observer that feeds ``metrics``. The workers' seconds add up over their successors."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._pulses: dict[UUID, Pulse] = {}
        self._posts: dict[UUID, Post] = {}

    def started(self, worker: Worker) -> None:
        self._pulses[worker.id] = Pulse("joining")
        self._posts[worker.id] = worker.post

    def report(self, worker: Worker, report: Report) -> None:
        self._metrics.checkpoint(
            worker.post.processor,
            worker.post.version,
            records=report.records,
            rows=report.rows,
            late=report.late,
            corrections=report.corrections,
            dead=report.dead,
            filtered=report.filtered,
            size_bytes=report.size_bytes,
            commit_s=report.commit_s,
        )

    def pulse(self, worker: Worker, pulse: Pulse) -> None:
        post, before = worker.post, self._pulses.get(worker.id, Pulse("joining"))
        self._pulses[worker.id], self._posts[worker.id] = pulse, post
        self._metrics.worker(
            post.processor,
            post.version,
            str(post.number),
            state=pulse.state,
            fetch_wait_s=max(pulse.fetch_s - before.fetch_s, 0.0),
            fold_s=max(pulse.fold_s - before.fold_s, 0.0),
            commit_wait_s=max(pulse.commit_s - before.commit_s, 0.0),
            buffered_bytes=pulse.buffered_bytes,
            resident_bytes=pulse.resident_bytes,
        )
        for part in pulse.standing:
            self._metrics.partition(
                post.processor,
                post.version,
                part.topic,
                part.partition,
                next_offset=part.next_offset,
                end_offset=part.next_offset if part.end is None else part.end,
                max_event_time_ms=part.max_event_time,
                watermark_ms=part.watermark,
            )
        self._give_up(worker, before, pulse)

    def note(self, worker: Worker, note: Note) -> None:
        """Nothing to count."""

    def failed(self, worker: Worker, error: KappaError, again_in_s: float) -> None:
        self._metrics.restarted(worker.post.processor, worker.post.version, type(error).__name__)
        self._gone(worker)

    def ended(self, worker: Worker) -> None:
        self._gone(worker)
        post = worker.post
        if not any(
            (other.processor, other.version) == (post.processor, post.version)
            for other in self._posts.values()
        ):
            self._metrics.forget(post.processor, post.version)

    def relay_started(self, relay: Relay) -> None:
        """Nothing to count."""

    def relayed(self, relay: Relay, relayed: Relayed) -> None:
        self._metrics.relayed(relay.post.processor, relay.post.output, relayed.sent)

    def relay_failed(self, relay: Relay, error: KappaError, again_in_s: float) -> None:
        """Nothing to count."""

    def relay_ended(self, relay: Relay) -> None:
        """Nothing to count."""

    def trouble(self, error: KappaError) -> None:
        """Nothing to count."""

    def _gone(self, worker: Worker) -> None:
        before = self._pulses.pop(worker.id, None)
        self._posts.pop(worker.id, None)
        if before is not None:
            self._give_up(worker, before, Pulse("gone"))

    def _give_up(self, worker: Worker, before: Pulse, now: Pulse) -> None:
        """Partitions the worker no longer holds, and no other of this process does."""
        post = worker.post
        held = {(part.topic, part.partition) for part in now.standing}
        for other, pulse in self._pulses.items():
            there = self._posts[other]
            if (there.processor, there.version) == (post.processor, post.version):
                held |= {(part.topic, part.partition) for part in pulse.standing}
        for part in before.standing:
            if (part.topic, part.partition) not in held:
                self._metrics.revoked(post.processor, post.version, part.topic, part.partition)
