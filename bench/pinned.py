"""Runs one measurement as a process of its own, on one core."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PLUGINS = Path(__file__).parent / "plugins"


@dataclass(frozen=True)
class Measured:
    """One measurement: ``seconds`` as the process counts its work, the rest from start to exit.

    ``cpu`` is what it computed for, all threads together; beside ``wall`` it shows how much of
    the core it had to share.
    """

    records: int
    rows: int | None
    seconds: float
    wall: float
    cpu: float

    @property
    def rate(self) -> float:
        """Records per second of work."""
        return self.records / self.seconds


def run(module: str, *args: str, core: int, environment: Mapping[str, str]) -> Measured:
    """Runs ``python -m MODULE ARGS`` with every thread and child of it on ``core``.

    The process prints one JSON object with records and seconds, and rows if it has any.
    ``environment`` is all it has (see ``with_plugins``).
    """
    began, before = time.perf_counter(), _children_cpu()
    done = subprocess.run(
        [sys.executable, "-c", _PIN, str(core), module, *args],
        env=dict(environment),
        stdout=subprocess.PIPE,
        check=True,
    )
    wall = time.perf_counter() - began
    result: dict[str, Any] = json.loads(done.stdout)
    return Measured(
        records=result["records"],
        rows=result.get("rows"),
        seconds=result["seconds"],
        wall=wall,
        cpu=_children_cpu() - before,
    )


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def with_plugins(environment: Mapping[str, str]) -> dict[str, str]:
    """This environment and more, in which kappa finds the bench's processor."""
    return {
        **os.environ,
        **environment,
        "PYTHONPATH": os.pathsep.join([str(PLUGINS), str(ROOT)]),
    }


_PIN = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.execv(sys.executable, [sys.executable, "-m", *sys.argv[2:]])
"""
"""Pins before anything is imported: native thread pools size themselves by the affinity."""
