"""Runs one measurement as a process of its own, on one core."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.stream import RECORDS

ROOT = Path(__file__).parents[1]
PLUGINS = Path(__file__).parent / "plugins"
_SAMPLE_S = 0.02


@dataclass(frozen=True)
class Measured:
    """One measurement: ``seconds`` as the process counts its work, the rest from start to exit.

    ``cpu`` is what it computed for, in seconds, all threads together; beside ``wall`` it shows
    how much of the core it had to share. ``peak_bytes`` is the most memory it had resident.
    """

    records: int
    rows: int | None
    seconds: float
    wall: float
    cpu: float
    peak_bytes: int

    @property
    def rate(self) -> float:
        """Records per second of work."""
        return self.records / self.seconds


class Pinned:
    """A running ``python -m MODULE ARGS``, every thread and child of it on ``core``.

    The process prints one JSON object with records and seconds, and rows if it has any.
    ``environment`` is all it has, see the function of that name.
    """

    def __init__(self, module: str, *args: str, core: int, environment: Mapping[str, str]) -> None:
        self.began = time.perf_counter()
        self._cpu_before = _children_cpu()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PIN, str(core), module, *args],
            env=dict(environment),
            stdout=subprocess.PIPE,
        )
        self._peak_bytes = 0
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def result(self) -> Measured:
        """Waits for its end.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        printed, _ = self._process.communicate()
        wall = time.perf_counter() - self.began
        self._watcher.join()
        code = self._process.returncode
        if code:
            raise subprocess.CalledProcessError(code, self._process.args)
        result: dict[str, Any] = json.loads(printed)
        return Measured(
            records=result["records"],
            rows=result.get("rows"),
            seconds=result["seconds"],
            wall=wall,
            cpu=_children_cpu() - self._cpu_before,
            peak_bytes=self._peak_bytes,
        )

    def _watch(self) -> None:
        """Reads the high-water mark, again and again, as long as there is one.

        What the system accounts to a finished child may be its parent's memory, from between
        fork and exec.
        """
        status = Path(f"/proc/{self._process.pid}/status")
        while (peak := _high_water(status)) is not None:
            self._peak_bytes = max(self._peak_bytes, peak)
            time.sleep(_SAMPLE_S)


def run(module: str, *args: str, core: int, environment: Mapping[str, str]) -> Measured:
    """Runs ``python -m MODULE ARGS`` to its end, see Pinned."""
    return Pinned(module, *args, core=core, environment=environment).result()


def environment(bootstrap_servers: str, postgres_url: str, records: int) -> dict[str, str]:
    """What a process sees: these servers, topics of so many records, the bench's processors."""
    return {
        **os.environ,
        "KAPPA_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
        "KAPPA_POSTGRES__URL": postgres_url,
        RECORDS: str(records),
        "PYTHONPATH": os.pathsep.join([str(PLUGINS), str(ROOT)]),
    }


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _high_water(status: Path) -> int | None:
    """Bytes; None for a process that has ended."""
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(found[0]) * 1024 if found else None


_PIN = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.execv(sys.executable, [sys.executable, "-m", *sys.argv[2:]])
"""
"""Pins before anything is imported: native thread pools size themselves by the affinity."""
