"""Which versions there are, looked up again and again by a thread of its own.

A database that is paused holds back who asks it, for as long as it likes: the supervisor must not
be who.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from kappa.errors import KappaError
from kappa.runtime.follow import PASSING
from kappa.tables.engine import connect
from kappa.versions import records
from kappa.versions.records import VersionRecord

_EVERY_S = 1.0
_CLOSE_S = 2.0


class Lookout:
    """A context manager; ``versions`` is what was found last, None before the first time."""

    def __init__(self, postgres_url: str) -> None:
        self.versions: tuple[VersionRecord, ...] | None = None
        self.error: KappaError | None = None
        """Why they could not be looked up the last time."""
        self._url = postgres_url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kappa-lookout", daemon=True)

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
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        engine = connect(self._url)
        while not self._stop.is_set():
            try:
                with engine.connect() as connection:
                    self.versions = records.list_versions(connection)
                self.error = None
            except PASSING as error:
                self.error = error
            self._stop.wait(_EVERY_S)
        engine.dispose()
