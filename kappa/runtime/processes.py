"""Work in a process of its own, which tells its parent how it goes and ends with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from kappa.errors import KappaError, WorkerDied

Task = TypeVar("Task")

_STOP = "stop"


@dataclass(frozen=True)
class Ended:
    """The last message of a process: its work is done, or could not be."""

    error: KappaError | None = None


@dataclass
class Desk:
    """What the work sees of its parent."""

    pipe: Connection
    stopping: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, message: object) -> None:
        """Tells the parent something that can be pickled. Any thread may."""
        with self._lock:
            self.pipe.send(message)


class Child:
    """A process that does ``work(task, desk)``. ``work`` is a function of a module."""

    def __init__(self, work: Callable[[Any, Desk], None], task: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_main, args=(work, task, theirs), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def receive(self) -> object:
        """The next message; ``Ended`` where the process died without a word.

        ``pipe`` tells when there is one.
        """
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            died = WorkerDied(
                "a worker process ended in the middle of its work",
                pid=self.pid,
                exit_status=self._process.exitcode,
                hint="run the same command again: it goes on from the last checkpoint",
            )
            return Ended(died)

    def stop(self) -> None:
        """Asks it to finish what it has begun."""
        with suppress(OSError):  # it has ended already
            self.pipe.send(_STOP)

    def end(self, timeout_s: float = 0.0) -> None:
        """Waits so long for its end, then ends it by force. Nothing committed is lost."""
        self._process.join(timeout_s)
        self.pipe.close()
        self._process.kill()
        self._process.join()


@contextmanager
def shared_threads(processes: int) -> Iterator[None]:
    """Processes started in the block share the cores among their Polars threads.

    Polars sizes its thread pool when it is imported, which in a spawned process is later.
    """
    share = max(1, (os.cpu_count() or 1) // max(processes, 1))
    before = os.environ.get("POLARS_MAX_THREADS")
    os.environ["POLARS_MAX_THREADS"] = before or str(share)
    try:
        yield
    finally:
        if before is None:
            del os.environ["POLARS_MAX_THREADS"]


def _main(work: Callable[[Any, Desk], None], task: object, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to act on
    desk = Desk(pipe)
    threading.Thread(target=_heed, args=(desk,), name="kappa-heed", daemon=True).start()
    try:
        work(task, desk)
    except KappaError as error:
        desk.send(Ended(_sendable(error)))
        return
    desk.send(Ended())


def _heed(desk: Desk) -> None:
    """The pipe ends when the parent does, however it ends; then nobody is left to work for."""
    try:
        while desk.pipe.recv() == _STOP:
            desk.stopping.set()
    except (EOFError, OSError):
        os._exit(1)


def _sendable(error: KappaError) -> KappaError:
    """The error without its cause, which may hold sockets and cannot be sent."""
    error.__cause__ = None
    error.__context__ = None
    return error
