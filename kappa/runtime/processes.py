"""Work in a process of its own, which tells its parent how it goes and ends with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from kappa.errors import KappaError, WorkerDied

Task = TypeVar("Task")

_STOP = "stop"
_MOST_WAITING = 100
"""Messages that the parent has not heard, before they are put together."""


def signature(pid: int) -> str:
    """How a process of this host signs what it claims, for people who look at the rows."""
    return f"{socket.gethostname()}:{pid}"


@dataclass(frozen=True)
class Ended:
    """The last message of a process: its work is done, or could not be."""

    error: KappaError | None = None


@runtime_checkable
class Message(Protocol):
    """What is told so often that a parent may be behind with hearing it."""

    def followed_by(self, later: Self) -> Self:
        """Both in one."""


class Desk:
    """What the work sees of its parent.

    A parent that is paused, or that is held up by whoever reads its log, holds up nobody here: a
    thread of its own tells it, and what it has not heard yet is put together.

    Attributes:
        stopping: set once the parent has asked to finish.
    """

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.stopping = threading.Event()
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()
        self._telling = True
        threading.Thread(target=self._tell, name="kappa-tell", daemon=True).start()

    def send(self, message: object) -> None:
        """Tells the parent something that can be pickled, soon. Any thread may, and none waits.

        What is a ``Message`` may be put together with what came before it.
        """
        with self._changed:
            if len(self._waiting) < _MOST_WAITING or not self._add(message):
                self._waiting.append(message)
            self._changed.notify_all()

    def flush(self, timeout_s: float | None = None) -> None:
        """Waits until the parent has been told everything, but not longer than that."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._waiting and self._telling), timeout_s)

    def _add(self, message: object) -> bool:
        """Whether the message could be put together with one that waits.

        The first of them is being told just then.
        """
        for index in range(len(self._waiting) - 1, 0, -1):
            before = self._waiting[index]
            if isinstance(before, Message) and isinstance(message, type(before)):
                self._waiting[index] = before.followed_by(message)
                return True
        return False

    def _tell(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: bool(self._waiting))
                    message = self._waiting[0]
                self.pipe.send(message)
                with self._changed:
                    self._waiting.popleft()
                    self._changed.notify_all()
        except OSError:
            """The parent is gone, and this process is about to end."""
        finally:
            with self._changed:
                self._telling = False
                self._changed.notify_all()


class Child:
    """A process that does ``work(task, desk)``. ``work`` is a function of a module.

    It does not heed SIGINT and SIGTERM: whoever starts it stops it, and ends it.
    """

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
    # Ctrl-C, or a SIGTERM to the whole group, is the parent's to act on.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    desk = Desk(pipe)
    threading.Thread(target=_heed, args=(desk,), name="kappa-heed", daemon=True).start()
    try:
        work(task, desk)
    except KappaError as error:
        desk.send(Ended(_sendable(error)))
    else:
        desk.send(Ended())
    finally:
        desk.flush()


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
