"""``kappa run`` as a process, and what can be done to it and to its workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil
from psycopg.conninfo import conninfo_to_dict

from tests.faults import wait_until
from tests.live.footprint import Footprint
from tests.live.history import until

CALM_S = 15.0
"""Within which a process gives back what it took to get over a fault."""


class Run:
    """A ``kappa run`` and its workers. A context manager; leaving it kills what is left.

    Attributes:
        before: what it took before a fault.
    """

    def __init__(self, environment: Mapping[str, str], log: Path, *args: str) -> None:
        self.log = log
        self.before: Footprint | None = None
        url = conninfo_to_dict(environment["KAPPA_POSTGRES__URL"])
        self._postgres_port = int(url["port"] or 0)
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kappa", "run", *args],
                env={**os.environ, **environment, "KAPPA_TELEMETRY__LOG_FORM": "json"},
                cwd=log.parent,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.supervisor = psutil.Process(self._process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    def workers(self) -> list[psutil.Process]:
        """Its worker processes now, the oldest first."""
        with suppress(psutil.NoSuchProcess):
            children = self.supervisor.children()
            return sorted(filter(_works, children), key=lambda worker: worker.create_time())
        return []

    def started(self, count: int = 1) -> list[psutil.Process]:
        """Its workers, once there are so many."""

        def there() -> bool:
            assert self.running, self.log.read_text()
            return len(self.workers()) >= count

        wait_until("the workers", there)
        return self.workers()

    def footprint(self) -> Footprint | None:
        """What it takes now with its workers; None where one of them has just ended."""
        with suppress(psutil.NoSuchProcess):
            return Footprint.of([self.supervisor, *self.workers()], self._postgres_port)
        return None

    def not_given_back(self, before: Footprint, kept_bytes: int = 0) -> dict[str, tuple[int, int]]:
        """What it still takes, a while after a fault, beyond what it took ``before``.

        Empty where it has given it back, or has not outlived the fault. ``kept_bytes`` of memory
        its allocators may keep besides.
        """
        beyond: dict[str, tuple[int, int]] = {}

        def back() -> bool:
            nonlocal beyond
            if not self.running:
                return True
            now = self.footprint()
            beyond = {} if now is None else now.beyond(before, kept_bytes)
            return now is not None and not beyond

        return {} if until(back, CALM_S) is not None else beyond

    def events(self, word: str = "") -> list[dict[str, Any]]:
        """Lines of its log that have the word in them."""
        lines = self.log.read_text().splitlines(keepends=True)
        whole = [line for line in lines if line.startswith("{") and line.endswith("\n")]
        return [json.loads(line) for line in whole if word in line]

    def errors(self) -> list[str]:
        """Classes of the errors it has logged so far."""
        return [event["error"] for event in self.events('"error": ') if "error" in event]

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self, timeout_s: float = 30) -> int:
        """Asks it to finish; its exit status."""
        self.ask_to_stop()
        return self.ended(timeout_s)

    def ask_to_stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def ended(self, timeout_s: float = 90) -> int:
        """Its exit status, once it has ended by itself."""
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL to the supervisor and all its workers, the paused ones too."""
        family = [*self.workers(), self.supervisor]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        wait_until("they are gone", lambda: all(map(_over, family)), 10)


def _over(process: psutil.Process) -> bool:
    """Orphans that have ended are there until the first process of the host collects them."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _works(process: psutil.Process) -> bool:
    """Python has a process of its own that tracks resources; it is nobody's worker."""
    try:
        return any("spawn_main" in word for word in process.cmdline())
    except psutil.NoSuchProcess:
        return False
