"""``kappa run``: follow every built version until told to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from kappa.config import Settings
from kappa.runtime.job import Rhythm
from kappa.runtime.observer import Observer
from kappa.runtime.supervisor import Running, Supervisor

DEFAULT_MAX_BATCH = 100_000
DEFAULT_MAX_DELAY_MS = 50


def run(
    settings: Settings,
    names: frozenset[str],
    observer: Observer,
    *,
    workers: int,
    max_batch: int,
    max_delay_ms: int,
) -> None:
    """Keeps versions up to date until SIGTERM or SIGINT.

    The first signal lets every worker finish its batch, commit it and leave its group. A second
    ends them at once, which loses nothing that was committed.

    Args:
        names: the processors; none means all.
        workers: processes for each version on this host.
        max_batch: records between two checkpoints, at most.
        max_delay_ms: how long a record waits for others before it is committed, at most.

    Raises:
        KappaError: nothing can be followed, for reasons that do not pass by waiting.
    """
    rhythm = Rhythm(max_batch, max_delay_ms / 1000)
    supervisor = Supervisor(Running(settings, names, workers, rhythm), observer)
    with _signals(supervisor) as stopping:
        supervisor.run(stopping)


@contextmanager
def _signals(supervisor: Supervisor) -> Iterator[threading.Event]:
    """An event that the first signal sets; the second ends the process."""
    stopping = threading.Event()

    def heed(number: int, frame: FrameType | None) -> None:
        if stopping.is_set():
            supervisor.abandon()
            os._exit(128 + number)
        stopping.set()

    before = {number: signal.signal(number, heed) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
