"""Small transactions beside the work, which may wait or be left out, and hold nobody back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Full, Queue
from types import TracebackType
from typing import Self

from sqlalchemy import Connection

from kappa.errors import KappaError
from kappa.tables.engine import connect
from kappa.telemetry.logs import logger

_MOST_WAITING = 100
_CLOSE_S = 3.0

Change = Callable[[Connection], None]

_log = logger("kappa.run")


class Background:
    """A thread with a database connection of its own. A context manager."""

    def __init__(self, postgres_url: str) -> None:
        self._engine = connect(postgres_url)
        self._changes: Queue[Change | None] = Queue(_MOST_WAITING)
        # A daemon, so that a database that hangs does not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="kappa-background", daemon=True)

    def do(self, change: Change | None) -> None:
        """Runs it in a transaction of its own, soon; or never, where too many wait already."""
        with suppress(Full):
            self._changes.put_nowait(change)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Does what is left to do, if that goes quickly."""
        self.do(None)
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        while (change := self._changes.get()) is not None:
            try:
                with self._engine.begin() as connection:
                    change(connection)
            except KappaError as error:
                _log.debug("a row was not written", error=str(error))
        self._engine.dispose()
