"""Something done again and again beside the work, by a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Beat:
    """Calls ``do`` every ``every_s`` seconds while it is open. A context manager.

    Leaving it waits for a call that is under way, but not longer than ``end_s``: the thread is a
    daemon, and what hangs in it keeps nobody from ending. By default that is ``every_s`` and a
    second.
    """

    def __init__(
        self, name: str, every_s: float, do: Callable[[], None], end_s: float | None = None
    ) -> None:
        self._every_s = every_s
        self._end_s = every_s + 1.0 if end_s is None else end_s
        self._do = do
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

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
        self._thread.join(self._end_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._do()
            self._stop.wait(self._every_s)
