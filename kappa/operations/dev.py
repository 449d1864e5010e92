"""The commands of ``kappa dev``: development servers below the state directory."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kappa import config
from kappa.dev import logs as log_files
from kappa.dev import stack
from kappa.dev.lifecycle import ServerStatus as ServerStatus
from kappa.dev.logs import LogLine as LogLine
from kappa.errors import DevError

Report = Callable[[str], None]


@dataclass(frozen=True)
class Up:
    """What runs now."""

    started: tuple[str, ...]
    """Servers this command started; empty if both ran already."""
    seconds: float
    servers: tuple[ServerStatus, ...]


@dataclass(frozen=True)
class Down:
    """What was stopped; the data is still there."""

    stopped: tuple[str, ...]


@dataclass(frozen=True)
class Reset:
    """What was stopped, and from where the data was deleted."""

    stopped: tuple[str, ...]
    directory: Path
    freed_bytes: int


@dataclass(frozen=True)
class Status:
    """Both servers as they are now."""

    directory: Path
    servers: tuple[ServerStatus, ...]


def up(report: Report) -> Up:
    """Starts Kafka and PostgreSQL where they do not run, and returns when both answer.

    Raises:
        DevError: a server cannot be installed or does not start; nothing is left running that
            did not run before.
    """
    began = time.monotonic()
    started = stack.up(_directory(), report)
    return Up(started, round(time.monotonic() - began, 1), stack.status(_directory()))


def down(report: Report) -> Down:
    """Stops both servers and keeps their data.

    Raises:
        DevError: a server belongs to another user.
    """
    return Down(stack.down(_directory(), report))


def reset(report: Report) -> Reset:
    """Stops both servers and deletes everything they hold.

    Raises:
        DevError: a server or its data belongs to another user.
    """
    held = sum(server.size_bytes for server in stack.status(_directory()))
    return Reset(stack.reset(_directory(), report), _directory(), held)


def status() -> Status:
    """Whether the servers run and answer, where, and how much they hold."""
    return Status(_directory(), stack.status(_directory()))


def logs(server: str | None, lines: int, *, follow: bool) -> Iterator[LogLine]:
    """The last lines of each server's log, then, with ``follow``, every further one.

    Raises:
        DevError: no server has written a log yet, and none is waited for.
    """
    paths = {
        each.name: each.log
        for each in stack.servers(_directory())
        if server is None or each.name == server
    }
    if not follow and not any(path.exists() for path in paths.values()):
        raise DevError(
            "there is no log yet", directory=_directory(), hint="'kappa dev up' starts the servers"
        )
    coming = log_files.follow(paths) if follow else iter(())
    past = [
        LogLine(name, line) for name, path in paths.items() for line in log_files.last(path, lines)
    ]
    return itertools.chain(past, coming)


def _directory() -> Path:
    return config.state_directory().resolve()
