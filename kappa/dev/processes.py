"""Finds, starts and ends server processes.

A server is known by its command line, which names its directory, and never by a stored pid
alone: pids are given out again, and a file with one in it can be lost.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from kappa.errors import DevError

_KILL_GRACE_S = 10.0
_ROTATE_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True)
class Launch:
    """How a server process is started."""

    command: tuple[str, ...]
    cwd: Path
    environment: Mapping[str, str]
    account: str | None = None


def find(owns: Callable[[list[str]], bool]) -> psutil.Process | None:
    """The running process whose command line is accepted by ``owns``.

    A child that was forked a moment ago still has its parent's command line: the parent is meant.
    """
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter(["cmdline"]):
        if owns(process.info["cmdline"] or []):
            found[process.pid] = process
    for process in found.values():
        with contextlib.suppress(psutil.Error):
            if process.ppid() not in found:
                return process
    return None


def alive(process: psutil.Process) -> bool:
    """Whether this very process, not a successor of its pid, still runs."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def working_in(directory: Path) -> list[psutil.Process]:
    """Processes whose working directory is this one."""
    wanted = str(directory)
    return [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == wanted]


def spawn(launch: Launch, log: Path) -> psutil.Process:
    """Starts a server that outlives this process and holds none of its pipes.

    Raises:
        DevError: the program cannot be started.
    """
    if log.exists() and log.stat().st_size > _ROTATE_BYTES:
        log.replace(log.with_suffix(".1.log"))
    with log.open("ab") as output:
        try:
            process = subprocess.Popen(
                launch.command,
                cwd=launch.cwd,
                env=launch.environment,
                user=launch.account,
                group=launch.account,
                extra_groups=None if launch.account is None else [],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise DevError(f"{launch.command[0]} cannot be run: {error.strerror}") from error
    return psutil.Process(process.pid)


def stop(process: psutil.Process, how: signal.Signals, grace_s: float) -> None:
    """Ends a process and its children: politely, and by force after ``grace_s`` seconds.

    Raises:
        DevError: it belongs to another user.
    """
    try:
        children = process.children(recursive=True)
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)  # a stopped process would never see the first one
        process.wait(grace_s)
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied as error:
        raise DevError("the server belongs to another user", pid=process.pid) from error
    except psutil.TimeoutExpired:
        _kill([process])
    _, left = psutil.wait_procs(children, timeout=_KILL_GRACE_S)
    _kill(left)


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(list(processes), timeout=_KILL_GRACE_S)
