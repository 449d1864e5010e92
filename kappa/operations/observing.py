"""What ``kappa run`` says of its workers while it runs."""

from __future__ import annotations

import json
import sys

from kappa.errors import KappaError
from kappa.runtime.job import Report
from kappa.runtime.observer import Worker
from kappa.runtime.pulse import Note, Pulse


class Log:
    """A line on stderr for what a person should know."""

    def started(self, worker: Worker) -> None:
        self._say("worker started", worker)

    def report(self, worker: Worker, report: Report) -> None:
        """Too often for a line."""

    def pulse(self, worker: Worker, pulse: Pulse) -> None:
        if pulse.error is not None:
            self._say("waiting", worker, error=str(pulse.error))

    def note(self, worker: Worker, note: Note) -> None:
        self._say(note.message, worker, **note.detail)

    def failed(self, worker: Worker, error: KappaError, again_in_s: float) -> None:
        self._say("worker failed", worker, error=f"{type(error).__name__}: {error}", s=again_in_s)

    def ended(self, worker: Worker) -> None:
        self._say("worker ended", worker)

    def trouble(self, error: KappaError) -> None:
        self._say("versions cannot be looked up", None, error=str(error))

    def _say(self, event: str, worker: Worker | None, **detail: object) -> None:
        who = {} if worker is None else {"pid": worker.pid, **vars(worker.post)}
        sys.stderr.write(json.dumps({"event": event, **who, **detail}, default=str) + "\n")
