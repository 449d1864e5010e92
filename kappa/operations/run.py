"""``kappa run``: follow every built version until told to stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from kappa.config import Settings, require_kafka, require_postgres
from kappa.errors import UnknownProcessor
from kappa.operations.background import Background
from kappa.operations.database import reading
from kappa.operations.measuring import Measuring
from kappa.operations.observing import Logging, Showing, Together
from kappa.operations.weighing import Weighing
from kappa.plugins import installed
from kappa.runtime.live.installed import lacking
from kappa.runtime.live.supervisor import Running, Supervisor
from kappa.runtime.worker.job import Rhythm
from kappa.telemetry.logs import configure_logs, logger
from kappa.telemetry.metrics import Metrics
from kappa.telemetry.server import TelemetryServer
from kappa.versions import records
from kappa.versions.lifecycle import BUILT

DEFAULT_MAX_BATCH = 100_000
DEFAULT_MAX_DELAY_MS = 50
_ALIVE_S = 30.0
"""Without a turn of the supervisor's loop, before it no longer counts as alive."""

_log = logger("kappa.run")


def run(
    settings: Settings,
    names: frozenset[str],
    *,
    workers: int,
    max_batch: int,
    max_delay_ms: int,
    http: str | None = None,
) -> None:
    """Keeps versions up to date until SIGTERM or SIGINT.

    The first signal lets every worker finish its batch, commit it and leave its group. A second
    ends them at once, which loses nothing that was committed.

    Args:
        names: the processors; none means all.
        workers: processes for each version on this host.
        max_batch: records between two checkpoints, at most.
        max_delay_ms: how long a record waits for others before it is committed, at most.
        http: the address for metrics and health, ``host:port``; None for none.

    Raises:
        KappaError: nothing can be followed, for reasons that do not pass by waiting.
    """
    rhythm = Rhythm(max_batch, max_delay_ms / 1000)
    configure_logs(settings.telemetry.log_form, settings.telemetry.log_level)
    require_kafka(settings)
    metrics = Metrics()
    _look_first(settings, names)
    with ExitStack() as stack:
        background = stack.enter_context(Background(require_postgres(settings)))
        observer = Together(
            [
                Logging(),
                Measuring(metrics),
                Showing(background),
                Weighing(metrics, background),
            ]
        )
        supervisor = Supervisor(Running(settings, names, workers, rhythm), observer)
        stopping = stack.enter_context(_signals(supervisor))
        if http is not None:
            server = TelemetryServer(
                http,
                metrics.registry,
                alive=lambda: time.monotonic() - supervisor.looked_at < _ALIVE_S,
                not_ready=lambda: supervisor.unready,
            )
            _log.info("metrics and health", url=stack.enter_context(server).url)
        supervisor.run(stopping)


def _look_first(settings: Settings, names: frozenset[str]) -> None:
    """Says which versions cannot be followed with the plugins that are installed, and what there
    is nothing of to follow yet.

    Raises:
        UnknownProcessor: a name is no processor's, here or in the database.
    """
    with reading(settings) as connection:
        lacks = lacking(connection)
        built = {v.processor for v in records.list_versions(connection) if v.state in BUILT}
        recorded = {processor.name for processor in records.list_processors(connection)}
    known = recorded | {plugin.name for plugin in installed()}
    for name in sorted(names):
        if name not in known:
            raise UnknownProcessor(
                f"no processor is called {name!r}",
                known=", ".join(sorted(known)) or None,
                hint="'kappa processors list' shows what is installed",
            )
    for lack in lacks:
        if not names or lack.processor in names:
            _log.warning(lack.message, hint=lack.hint, state=lack.state.value)
    for name in sorted(names - built) if names or built else ["any processor"]:
        _log.warning(f"no version of {name} is built yet: it is waited for", hint="kappa replay")


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
