"""What ``kappa run`` tells of its workers: logs, metrics, and rows for ``kappa status``."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from sqlalchemy import Engine

from kappa.errors import KappaError
from kappa.runtime.job import Report
from kappa.runtime.observer import Worker
from kappa.runtime.pulse import Note, Pulse
from kappa.tables import workers
from kappa.tables.workers import WorkerRow
from kappa.telemetry.logs import logger
from kappa.telemetry.metrics import Metrics

_WRITE_EVERY_S = 2.0
_REPEAT_S = 60.0
"""How often the same trouble is logged."""

_log = logger("kappa.run")


@dataclass
class _Seen:
    """What is known of one worker process."""

    pulse: Pulse = field(default_factory=lambda: Pulse("joining"))
    records: int = 0
    counted_at: float = 0.0
    counted: int = 0
    written_at: float = 0.0
    error: KappaError | None = None
    logged_at: float = 0.0


class Telling:
    """An observer that logs what is rare, counts what is frequent, and shows what is now.

    Rows for ``kappa status`` are written every two seconds, by a connection that fails fast: a
    database that is away is the workers' trouble, not the observer's.
    """

    def __init__(self, metrics: Metrics, engine: Engine) -> None:
        self._metrics = metrics
        self._engine = engine
        self._seen: dict[Worker, _Seen] = {}

    def started(self, worker: Worker) -> None:
        self._seen[worker] = _Seen(counted_at=time.monotonic())
        _log.info("worker started", **_who(worker))

    def report(self, worker: Worker, report: Report) -> None:
        seen = self._seen[worker]
        seen.records += report.records
        post = worker.post
        self._metrics.checkpoint(
            post.processor,
            post.version,
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
        seen = self._seen[worker]
        former, seen.pulse = seen.pulse, pulse
        self._measure(worker, former, pulse)
        if pulse.error is not None:
            self._complain(worker, seen, pulse.error)
        elif seen.error is not None:
            seen.error = None
            _log.info("worker goes on", **_who(worker))
        now = time.monotonic()
        if now - seen.written_at >= _WRITE_EVERY_S:
            self._write(worker, seen, _bottleneck(former, pulse), now)

    def note(self, worker: Worker, note: Note) -> None:
        _log.warning(note.message, **note.detail, **_who(worker))

    def failed(self, worker: Worker, error: KappaError, again_in_s: float) -> None:
        seen = self._seen.pop(worker, _Seen())
        self._forget(worker, seen)
        self._metrics.restarted(worker.post.processor, worker.post.version, type(error).__name__)
        _log.error(
            error.message,
            error=type(error).__name__,
            again_in_s=again_in_s,
            hint=error.hint or None,
            detail=error.detail,
            **_who(worker),
        )

    def ended(self, worker: Worker) -> None:
        self._forget(worker, self._seen.pop(worker, _Seen()))
        if not any(other.post.version == worker.post.version for other in self._seen):
            self._metrics.forget(worker.post.processor, worker.post.version)
        _log.info("worker ended", **_who(worker))

    def trouble(self, error: KappaError) -> None:
        _log.warning(error.message, error=type(error).__name__, detail=error.detail)

    def _measure(self, worker: Worker, former: Pulse, pulse: Pulse) -> None:
        post = worker.post
        self._metrics.worker(
            post.processor,
            post.version,
            str(post.number),
            state=pulse.state,
            fetch_wait_s=max(pulse.fetch_s - former.fetch_s, 0),
            fold_s=max(pulse.fold_s - former.fold_s, 0),
            commit_wait_s=max(pulse.commit_s - former.commit_s, 0),
            buffered_bytes=pulse.buffered_bytes,
            resident_bytes=pulse.resident_bytes,
        )
        for at in pulse.standing:
            self._metrics.partition(
                post.processor,
                post.version,
                at.topic,
                at.partition,
                next_offset=at.next_offset,
                end_offset=at.next_offset if at.end is None else at.end,
                max_event_time_ms=at.max_event_time,
            )
        held = {(at.topic, at.partition) for at in pulse.standing}
        for at in former.standing:
            if (at.topic, at.partition) not in held:
                self._metrics.revoked(post.processor, post.version, at.topic, at.partition)

    def _complain(self, worker: Worker, seen: _Seen, error: KappaError) -> None:
        now = time.monotonic()
        same = seen.error is not None and seen.error.message == error.message
        if not same or now - seen.logged_at > _REPEAT_S:
            seen.logged_at = now
            _log.warning(
                error.message, error=type(error).__name__, detail=error.detail, **_who(worker)
            )
        seen.error = error

    def _write(self, worker: Worker, seen: _Seen, bottleneck: str | None, now: float) -> None:
        elapsed = max(now - seen.counted_at, 0.001)
        rate = (seen.records - seen.counted) / elapsed
        seen.counted, seen.counted_at, seen.written_at = seen.records, now, now
        row = WorkerRow(
            id=worker.id,
            processor=worker.post.processor,
            version=worker.post.version,
            owner=worker.owner,
            state=seen.pulse.state,
            started_at=worker.started_at,
            bottleneck=bottleneck,
            records_per_second=round(rate, 1),
            resident_bytes=seen.pulse.resident_bytes,
            last_error=None if seen.error is None else _document(seen.error),
        )
        try:
            with self._engine.begin() as connection:
                workers.report(connection, row)
        except KappaError as error:
            _log.debug("the row for kappa status was not written", error=str(error))

    def _forget(self, worker: Worker, seen: _Seen) -> None:
        for at in seen.pulse.standing:
            self._metrics.revoked(
                worker.post.processor, worker.post.version, at.topic, at.partition
            )
        try:
            with self._engine.begin() as connection:
                workers.remove(connection, worker.id)
        except KappaError as error:
            _log.debug("the row for kappa status was not removed", error=str(error))


def _bottleneck(former: Pulse, pulse: Pulse) -> str | None:
    """Where most of the time went since the last pulse, while there was something to read."""
    if not any(at.end is not None and at.next_offset < at.end for at in pulse.standing):
        return None
    spent = {
        "source": pulse.fetch_s - former.fetch_s,
        "processing": pulse.fold_s - former.fold_s,
        "database": pulse.commit_s - former.commit_s,
    }
    return max(spent, key=lambda stage: spent[stage])


def _document(error: KappaError) -> dict[str, object]:
    return {
        "class": type(error).__name__,
        "message": error.message,
        "detail": {name: str(value) for name, value in error.detail.items()},
        "hint": error.hint,
    }


def _who(worker: Worker) -> dict[str, object]:
    post = worker.post
    return {"processor": post.processor, "version": post.version, "pid": worker.pid}
