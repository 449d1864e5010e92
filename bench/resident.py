"""What processes hold: memory as they work; descriptors, threads and sessions at rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import psutil
import psycopg

SAMPLE_S = 0.25


@dataclass(frozen=True)
class Held:
    """What must be the same whenever there is nothing to do."""

    descriptors: int
    threads: int
    sessions: int


def held(processes: Sequence[psutil.Process], watch: psycopg.Connection) -> Held:
    """What these processes hold now, and how many sessions of kappa the database has."""
    ((sessions,),) = watch.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'kappa'"
    ).fetchall()
    return Held(
        descriptors=sum(process.num_fds() for process in processes),
        threads=sum(process.num_threads() for process in processes),
        sessions=sessions,
    )


@dataclass(frozen=True)
class Sample:
    """Resident memory in bytes, so many seconds after the first sample."""

    at_s: float
    resident: int


class Sampler:
    """Samples a process's memory in a thread for as long as the block. A context manager."""

    def __init__(self, process: psutil.Process) -> None:
        self.samples: list[Sample] = []
        self._process = process
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._stopping.wait(SAMPLE_S):
            resident = self._process.memory_info().rss
            self.samples.append(Sample(time.monotonic() - began, resident))


def growth(samples: Sequence[Sample]) -> float:
    """How much memory grows from the first sample to the last, as a share of its mean.

    By the straight line that is nearest to all samples by least squares, so that one of them
    matters little.
    """
    at = np.array([sample.at_s for sample in samples])
    resident = np.array([sample.resident for sample in samples], dtype=np.float64)
    slope = np.polynomial.Polynomial.fit(at, resident, 1).convert().coef
    per_s = float(slope[1]) if len(slope) > 1 else 0.0
    return per_s * float(at[-1] - at[0]) / float(resident.mean())
