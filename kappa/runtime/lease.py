"""A relay's word that it is there, given again and again by a thread of its own.

A relay that is killed or paused stops giving it, and after a while another takes its place.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from kappa.errors import KappaError
from kappa.tables import relays
from kappa.tables.engine import connect

_EVERY_S = 2.0


class Lease:
    """A context manager: renewed while it is open, given up when it is left in good order."""

    def __init__(self, postgres_url: str, processor: str, output: str, epoch: int) -> None:
        self._engine = connect(postgres_url)
        self._of = (processor, output, epoch)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kappa-lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(_EVERY_S)
        with suppress(KappaError), self._engine.begin() as connection:
            relays.vacate(connection, *self._of)
        self._engine.dispose()

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            # A database that is away is the relay's trouble; then nobody can take over either.
            with suppress(KappaError), self._engine.begin() as connection:
                relays.renew(connection, *self._of)
