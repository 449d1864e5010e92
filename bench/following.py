"""``kappa run`` as a process beside a measurement."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil
import psycopg

_STOP_S = 60


@contextmanager
def following(*args: str, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Runs it for as long as the block; then it finishes its batch.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    command = [sys.executable, "-m", "kappa", "run", *args]
    process = subprocess.Popen(command, env=dict(environment), stdout=sys.stderr)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        if code := process.wait(_STOP_S):
            raise subprocess.CalledProcessError(code, command)
    finally:
        process.kill()
        process.wait()


def workers_of(watch: psycopg.Connection, name: str) -> list[int]:
    """The living processes that hold partitions of it; their owner is ``host:pid``."""
    owners = watch.execute(
        "SELECT DISTINCT owner FROM kappa_offset WHERE processor = %s AND owner LIKE '%%:%%'",
        [name],
    )
    pids = {int(owner.rpartition(":")[2]) for (owner,) in owners}
    return sorted(pid for pid in pids if psutil.pid_exists(pid))
