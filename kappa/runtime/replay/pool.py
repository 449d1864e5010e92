"""Runs jobs: one in this process, several each in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import wait

from kappa.registry.topic import TopicRegistry
from kappa.runtime.assembly import Assembly
from kappa.runtime.processes import Child, Desk, Ended, shared_threads
from kappa.runtime.worker.job import Job, Report
from kappa.runtime.worker.tenure import Listener
from kappa.runtime.worker.worker import run_assembled, run_job


def run_jobs(
    jobs: Sequence[Job], assembly: Assembly, registry: TopicRegistry, listener: Listener
) -> None:
    """Runs all jobs to their end; ``listener`` hears of every checkpoint in this thread.

    A single job uses this process's ``assembly``; each worker process puts its own together.

    Raises:
        WorkerDied: a worker process ended without saying why.
        KappaError: a job failed; the other workers are stopped at once, which loses nothing
            that was committed.
    """
    if len(jobs) == 1:
        run_assembled(jobs[0], assembly, registry, listener)
        return
    with ExitStack() as ends:
        workers: list[Child] = []
        with shared_threads(len(jobs)):
            for job in jobs:
                workers.append(worker := Child(_do, job))
                ends.callback(worker.end)
        _listen(workers, listener)


def _do(job: Job, desk: Desk) -> None:
    run_job(job, desk.send)


def _listen(workers: list[Child], listener: Listener) -> None:
    working = {worker.pipe: worker for worker in workers}
    while working:
        for ready in wait(list(working)):
            message = working[ready].receive()  # type: ignore[index]
            if isinstance(message, Report):
                listener(message)
            elif isinstance(message, Ended):
                if message.error is not None:
                    raise message.error
                del working[ready]  # type: ignore[arg-type]
