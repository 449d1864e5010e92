"""Starts, stops and describes one server, whichever of the two it is."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from kappa.dev import files, ports, processes
from kappa.dev.instance import Installed, Instance
from kappa.dev.task import Task
from kappa.errors import DevError

_STARTS = 4
_READY_S = 180.0  # recovery after a crash takes its time when there is much to recover
_SHUTDOWN_S = 30.0
_PORT_TAKEN = "Address already in use"  # in the words of both servers


class Server(Protocol):
    """What Kafka and PostgreSQL have in common, seen from outside."""

    @property
    def name(self) -> str: ...
    @property
    def home(self) -> Path: ...
    @property
    def data(self) -> Path: ...
    @property
    def log(self) -> Path: ...
    @property
    def port_names(self) -> Sequence[str]: ...
    @property
    def stop_signal(self) -> signal.Signals: ...

    def owns(self, command_line: Sequence[str]) -> bool: ...
    def install(self, task: Task) -> Installed: ...
    def endpoint(self, ports: Mapping[str, int]) -> str: ...
    def answers(self, instance: Instance) -> bool: ...


@dataclass(frozen=True)
class ServerStatus:
    """One server as it is now."""

    name: str
    running: bool
    answers: bool
    """False while it starts, recovers or hangs."""
    pid: int | None
    endpoint: str | None
    """Kept while the server is down: it is started there again if the ports are still free."""
    version: str | None
    directory: Path
    size_bytes: int
    """Disk space taken by the data."""
    log: Path


class _PortTaken(Exception):
    """Another program took the port between the moment it was free and the server's start."""


def start(server: Server, task: Task) -> bool:
    """Returns when the server answers: ``False`` if it ran already, ``True`` if this started it.

    Raises:
        DevError: it cannot be installed, ends while it starts, or never answers.
        Cancelled: the task was cancelled; a process started by this call has been stopped.
    """
    process, known = processes.find(server.owns), Instance.read(server.home)
    if process is not None:
        if known is not None and server.data.exists():
            _wait_until_ready(server, process, known, task, log_from=_size(server.log))
            return False
        task.report(f"{server.name}: stopping a server whose directory was deleted")
        processes.stop(process, server.stop_signal, _SHUTDOWN_S)
    server.home.mkdir(parents=True, exist_ok=True)
    installed = server.install(task)
    for _ in range(_STARTS):
        chosen = ports.choose(server.port_names, known.ports if known else {})
        known = Instance(installed.version, chosen)
        known.write(server.home)
        try:
            _start_process(server, installed, known, task)
        except _PortTaken:
            task.report(f"{server.name}: a port was taken meanwhile, trying others")
            continue
        return True
    raise DevError(f"{server.name} found no port that stayed free", tries=_STARTS)


def stop(server: Server) -> bool:
    """Ends the server of this directory, if it runs; returns whether it did.

    Raises:
        DevError: it belongs to another user.
    """
    process = processes.find(server.owns)
    if process is None:
        return False
    processes.stop(process, server.stop_signal, _SHUTDOWN_S)
    return True


def describe(server: Server) -> ServerStatus:
    """Looks at the process, the data, and whether the server answers."""
    process, known = processes.find(server.owns), Instance.read(server.home)
    return ServerStatus(
        name=server.name,
        running=process is not None,
        answers=process is not None and known is not None and server.answers(known),
        pid=process.pid if process else None,
        endpoint=server.endpoint(known.ports) if known else None,
        version=known.version if known else None,
        directory=server.home,
        size_bytes=files.allocated_bytes(server.data),
        log=server.log,
    )


def _start_process(server: Server, installed: Installed, instance: Instance, task: Task) -> None:
    task.report(f"{server.name}: starting {installed.version}")
    log_from = _size(server.log)
    process = processes.spawn(installed.launch(instance.ports), server.log)
    try:
        _wait_until_ready(server, process, instance, task, log_from)
    except BaseException:
        processes.stop(process, server.stop_signal, _SHUTDOWN_S)
        raise


def _wait_until_ready(
    server: Server, process: psutil.Process, instance: Instance, task: Task, log_from: int
) -> None:
    deadline = time.monotonic() + _READY_S
    while not server.answers(instance):
        if not processes.alive(process):
            written = _written(server.log, log_from)
            if _PORT_TAKEN in written:
                raise _PortTaken
            raise DevError(
                f"{server.name} ended while it started",
                last_words=_last_words(written),
                log=server.log,
                hint=f"see 'kappa dev logs {server.name}'",
            )
        if time.monotonic() > deadline:
            raise DevError(
                f"{server.name} runs but has not answered for {_READY_S:.0f} s",
                pid=process.pid,
                log=server.log,
                hint=f"see 'kappa dev logs {server.name}'; 'kappa dev down' stops it",
            )
        task.pause()


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _written(log: Path, start: int) -> str:
    with log.open("rb") as file:
        # A log that was begun anew is shorter than it was.
        file.seek(start if start <= file.seek(0, 2) else 0)
        return file.read().decode(errors="replace")


def _last_words(text: str) -> str:
    """The line that most likely says why: the last that complains, else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    complaints = [
        line for line in lines if any(word in line for word in ("FATAL", "ERROR", "Exception"))
    ]
    return (complaints or lines or ["nothing"])[-1]
