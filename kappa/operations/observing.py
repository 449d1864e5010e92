"""What ``kappa run`` tells of its workers beside metrics: logs, and rows for ``kappa status``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from kappa.errors import KappaError
from kappa.operations.background import Background
from kappa.operations.measuring import bottleneck
from kappa.runtime.live.observer import Observer, Relay, RelayPost, Worker
from kappa.runtime.live.pulse import Note, Pulse
from kappa.runtime.relay.sending import Relayed
from kappa.runtime.worker.job import Report
from kappa.tables import relays, workers
from kappa.tables.workers import WorkerRow
from kappa.telemetry.logs import logger

_WRITE_EVERY_S = 2.0
_REPEAT_S = 60.0
"""How often the same trouble is logged."""

_log = logger("kappa.run")


class Together:
    """An observer that passes on what it hears to several."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def started(self, worker: Worker) -> None:
        for each in self._observers:
            each.started(worker)

    def report(self, worker: Worker, report: Report) -> None:
        for each in self._observers:
            each.report(worker, report)

    def pulse(self, worker: Worker, pulse: Pulse) -> None:
        for each in self._observers:
            each.pulse(worker, pulse)

    def note(self, worker: Worker, note: Note) -> None:
        for each in self._observers:
            each.note(worker, note)

    def failed(self, worker: Worker, error: KappaError, again_in_s: float) -> None:
        for each in self._observers:
            each.failed(worker, error, again_in_s)

    def ended(self, worker: Worker) -> None:
        for each in self._observers:
            each.ended(worker)

    def relay_started(self, relay: Relay) -> None:
        for each in self._observers:
            each.relay_started(relay)

    def relayed(self, relay: Relay, relayed: Relayed) -> None:
        for each in self._observers:
            each.relayed(relay, relayed)

    def relay_failed(self, relay: Relay, error: KappaError, again_in_s: float) -> None:
        for each in self._observers:
            each.relay_failed(relay, error, again_in_s)

    def relay_ended(self, relay: Relay) -> None:
        for each in self._observers:
            each.relay_ended(relay)

    def trouble(self, error: KappaError) -> None:
        for each in self._observers:
            each.trouble(error)


class Logging:
    """An observer that logs what a person should know, and the same trouble once a minute."""

    def __init__(self) -> None:
        self._troubled: dict[UUID | None, tuple[str, float]] = {}

    def started(self, worker: Worker) -> None:
        _log.info("worker started", **_who(worker))

    def report(self, worker: Worker, report: Report) -> None:
        """Too often for a line."""

    def pulse(self, worker: Worker, pulse: Pulse) -> None:
        error = pulse.error
        if error is None:
            if self._troubled.pop(worker.id, None) is not None:
                _log.info("worker goes on", **_who(worker))
            return
        if self._is_news(worker.id, error):
            _log.warning(error.message, **_what(error), **_who(worker))

    def note(self, worker: Worker, note: Note) -> None:
        _log.warning(note.message, detail=note.detail, **_who(worker))

    def failed(self, worker: Worker, error: KappaError, again_in_s: float) -> None:
        self._troubled.pop(worker.id, None)
        _log.error(error.message, **_what(error), again_in_s=again_in_s, **_who(worker))

    def ended(self, worker: Worker) -> None:
        self._troubled.pop(worker.id, None)
        _log.info("worker ended", **_who(worker))

    def relay_started(self, relay: Relay) -> None:
        _log.info("relay started", **_whose(relay))

    def relayed(self, relay: Relay, relayed: Relayed) -> None:
        if relayed.failure is not None:
            _log.warning(relayed.failure.message, **_what(relayed.failure), **_whose(relay))
        if relayed.set_aside:
            _log.warning("rows were set aside", rows=relayed.set_aside, **_whose(relay))

    def relay_failed(self, relay: Relay, error: KappaError, again_in_s: float) -> None:
        _log.error(error.message, **_what(error), again_in_s=again_in_s, **_whose(relay))

    def relay_ended(self, relay: Relay) -> None:
        _log.info("relay ended", **_whose(relay))

    def trouble(self, error: KappaError) -> None:
        if self._is_news(None, error):
            _log.warning(error.message, **_what(error))

    def _is_news(self, whose: UUID | None, error: KappaError) -> bool:
        message, at = self._troubled.get(whose, ("", 0.0))
        if message == error.message and time.monotonic() - at <= _REPEAT_S:
            return False
        self._troubled[whose] = (error.message, time.monotonic())
        return True


@dataclass
class _Seen:
    """One worker process, as it was last written down.

    Attributes:
        error: what it has met and not got over.
        gets_on: whether it has got something done since, or nothing is left to do.
    """

    pulse: Pulse = field(default_factory=lambda: Pulse("joining"))
    records: int = 0
    at: float = field(default_factory=time.monotonic)
    error: KappaError | None = None
    gets_on: bool = False

    def meet(self, error: KappaError) -> None:
        self.error, self.gets_on = error, False

    def get_on(self) -> None:
        self.error, self.gets_on = None, True


class Showing:
    """An observer that writes workers and relays down for ``kappa status``, every two seconds.

    An error stays until who met it, or whoever comes after, gets on. What cannot be written is
    left out: a database that is away is the workers' trouble.
    """

    def __init__(self, background: Background) -> None:
        self._background = background
        self._seen: dict[UUID, _Seen] = {}
        self._sent_at: dict[RelayPost, float] = {}

    def started(self, worker: Worker) -> None:
        self._seen[worker.id] = _Seen()

    def report(self, worker: Worker, report: Report) -> None:
        seen = self._seen[worker.id]
        seen.records += report.records
        seen.get_on()

    def pulse(self, worker: Worker, pulse: Pulse) -> None:
        seen, now = self._seen[worker.id], time.monotonic()
        if pulse.error is not None:
            seen.meet(pulse.error)
        elif not pulse.standing:
            seen.error = None
        elif not pulse.is_behind:
            seen.get_on()
        if now - seen.at < _WRITE_EVERY_S:
            return
        row = WorkerRow(
            **_signed(worker),
            state=pulse.state,
            bottleneck=bottleneck(seen.pulse, pulse),
            records_per_second=round(seen.records / (now - seen.at), 1),
            resident_bytes=pulse.resident_bytes,
            last_error=None if seen.error is None else _document(seen.error),
        )
        seen.pulse, seen.records, seen.at = pulse, 0, now
        self._background.do(partial(workers.report, row=row))
        if seen.gets_on and pulse.state == "following":
            post = worker.post
            self._background.do(
                partial(workers.recover, processor=post.processor, version=post.version)
            )

    def note(self, worker: Worker, note: Note) -> None:
        """Said in the log."""

    def failed(self, worker: Worker, error: KappaError, again_in_s: float) -> None:
        self._seen.pop(worker.id, None)
        row = WorkerRow(**_signed(worker), state=workers.FAILED, last_error=_document(error))
        self._background.do(partial(workers.fail, row=row))

    def ended(self, worker: Worker) -> None:
        self._seen.pop(worker.id, None)
        self._background.do(partial(workers.remove, worker_id=worker.id))

    def relay_started(self, relay: Relay) -> None:
        """It says soon how it does."""

    def relayed(self, relay: Relay, relayed: Relayed) -> None:
        if relayed.failure is not None:
            self.relay_failed(relay, relayed.failure, 0.0)
            return
        post, now = relay.post, time.monotonic()
        if now - self._sent_at.get(post, 0.0) >= _WRITE_EVERY_S:
            self._sent_at[post] = now
            self._background.do(
                partial(
                    relays.recover,
                    processor=post.processor,
                    output=post.output,
                    owner=relay.owner,
                )
            )

    def relay_failed(self, relay: Relay, error: KappaError, again_in_s: float) -> None:
        self._background.do(
            partial(
                relays.fail,
                processor=relay.post.processor,
                output=relay.post.output,
                owner=relay.owner,
                error=_document(error),
            )
        )

    def relay_ended(self, relay: Relay) -> None:
        self._sent_at.pop(relay.post, None)

    def trouble(self, error: KappaError) -> None:
        """Said in the log."""


def _signed(worker: Worker) -> dict[str, Any]:
    return {
        "id": worker.id,
        "processor": worker.post.processor,
        "version": worker.post.version,
        "owner": worker.owner,
        "started_at": worker.started_at,
    }


def _document(error: KappaError) -> dict[str, object]:
    return {
        "class": type(error).__name__,
        "message": error.message,
        "detail": {name: str(value) for name, value in error.detail.items()},
        "hint": error.hint,
    }


def _what(error: KappaError) -> dict[str, object]:
    detail = {name: str(value) for name, value in error.detail.items()}
    return {"error": type(error).__name__, "detail": detail, "hint": error.hint}


def _whose(relay: Relay) -> dict[str, object]:
    return {"processor": relay.post.processor, "output": relay.post.output, "pid": relay.pid}


def _who(worker: Worker) -> dict[str, object]:
    post = worker.post
    return {"processor": post.processor, "version": post.version, "pid": worker.pid}
