"""Both servers below one directory: up, down, status, reset."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import fasteners
import psutil

from kappa.dev import files, lifecycle
from kappa.dev.instance import Instance
from kappa.dev.kafka import Kafka
from kappa.dev.lifecycle import Server, ServerStatus
from kappa.dev.postgres import Postgres
from kappa.dev.task import Cancelled, Task
from kappa.errors import DevError

ENDPOINTS = "endpoints.json"

_LOCK = "dev.lock"
_POLL_S = 0.1


def servers(directory: Path) -> tuple[Server, ...]:
    """The two servers of a stack, running or not."""
    return (Kafka(directory / "kafka"), Postgres(directory / "postgres"))


def up(directory: Path, report: Callable[[str], None]) -> tuple[str, ...]:
    """Starts what does not run and returns the names of the servers it started.

    All or nothing: on an error or an interrupt, what this call started is stopped again.

    Raises:
        DevError: a server cannot be installed or does not start.
    """
    with _alone(directory, report):
        return _start_all(directory, report)


def down(directory: Path, report: Callable[[str], None]) -> tuple[str, ...]:
    """Stops what runs and returns the names of the servers it stopped. The data stays.

    Raises:
        DevError: a server belongs to another user.
    """
    if not directory.exists():
        return ()
    with _alone(directory, report):
        return _stop_all(directory)


def reset(directory: Path, report: Callable[[str], None]) -> tuple[str, ...]:
    """Stops both servers and deletes their data, logs and ports; returns what it stopped.

    Raises:
        DevError: a server or its data belongs to another user.
    """
    if not directory.exists():
        return ()
    with _alone(directory, report):
        stopped = _stop_all(directory)
        for server in servers(directory):
            files.remove(server.home)
        return stopped


def status(directory: Path) -> tuple[ServerStatus, ...]:
    """Both servers as they are now."""
    with _translated():
        return tuple(lifecycle.describe(server) for server in servers(directory))


def _start_all(directory: Path, report: Callable[[str], None]) -> tuple[str, ...]:
    both = servers(directory)
    task = Task(report, Event())
    futures: dict[str, Future[bool]] = {}
    try:
        with ThreadPoolExecutor(len(both)) as pool:
            futures = {s.name: pool.submit(lifecycle.start, s, task) for s in both}
            try:
                wait(futures.values(), return_when=FIRST_EXCEPTION)
            finally:
                # Everything is done by now, or one has failed, or this thread was interrupted.
                task.cancelled.set()
        _raise_first(futures)
        _write_endpoints(directory, both)
    except BaseException:
        for server in both:
            if _started(futures.get(server.name)):
                lifecycle.stop(server)
        raise
    return tuple(name for name, future in futures.items() if future.result())


def _raise_first(futures: dict[str, Future[bool]]) -> None:
    """Raises why the stack is not up; that the other server was cancelled is no reason."""
    errors = [future.exception() for future in futures.values()]
    for error in errors:
        if error is not None and not isinstance(error, Cancelled):
            raise error


def _started(future: Future[bool] | None) -> bool:
    return future is not None and future.done() and future.exception() is None and future.result()


def _stop_all(directory: Path) -> tuple[str, ...]:
    # First: whoever reads it from now on is told that there is no server, not sent to a dead one.
    (directory / ENDPOINTS).unlink(missing_ok=True)
    both = servers(directory)
    with ThreadPoolExecutor(len(both)) as pool:
        stopped = list(pool.map(lifecycle.stop, both))
    return tuple(server.name for server, did in zip(both, stopped, strict=True) if did)


def _write_endpoints(directory: Path, both: tuple[Server, ...]) -> None:
    where = {}
    for server in both:
        instance = Instance.read(server.home)
        if instance is None:
            raise DevError(f"{server.home} was deleted while {server.name} started")
        where[server.name] = server.endpoint(instance.ports)
    document = {"bootstrap_servers": where["kafka"], "postgres_url": where["postgres"]}
    files.write_atomically(directory / ENDPOINTS, json.dumps(document, indent=2) + "\n")


@contextmanager
def _alone(directory: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Holds the stack's lock: two commands at once take turns."""
    with _translated():
        directory.mkdir(parents=True, exist_ok=True)
        ignore = directory / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        lock = fasteners.InterProcessLock(directory / _LOCK)
        if not lock.acquire(blocking=False):
            report("waiting for another 'kappa dev' to finish")
            lock.acquire(delay=_POLL_S, max_delay=_POLL_S)
        try:
            yield
        finally:
            lock.release()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DevError(f"{error.strerror or error}", path=error.filename) from error
    except psutil.Error as error:
        raise DevError(f"a process cannot be looked at: {error}") from error
