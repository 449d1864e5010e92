"""Runs jobs: one in this process, several each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from kappa.errors import KappaError, WorkerDied
from kappa.registry.topic import TopicRegistry
from kappa.runtime.assembly import Assembly
from kappa.runtime.job import Job, Report
from kappa.runtime.tenure import Listener
from kappa.runtime.worker import run_assembled, run_job


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
    # Polars sizes its thread pool when it is imported, which in a spawned process is later.
    share = max(1, (os.cpu_count() or 1) // len(jobs))
    before = os.environ.get("POLARS_MAX_THREADS")
    os.environ["POLARS_MAX_THREADS"] = before or str(share)
    try:
        workers = [_start(job) for job in jobs]
    finally:
        if before is None:
            del os.environ["POLARS_MAX_THREADS"]
    try:
        _listen(workers, listener)
    finally:
        for process, pipe in workers:
            pipe.close()
            process.kill()
            process.join()


def _start(job: Job) -> tuple[BaseProcess, Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(job, theirs), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _listen(workers: list[tuple[BaseProcess, Connection]], listener: Listener) -> None:
    owner = {pipe: process for process, pipe in workers}
    while owner:
        for ready in wait(list(owner)):
            assert isinstance(ready, Connection)
            try:
                message = ready.recv()
            except EOFError:
                process = owner[ready]
                process.join()
                raise WorkerDied(
                    "a worker process ended in the middle of its work",
                    pid=process.pid,
                    exit_status=process.exitcode,
                    hint="run the same command again: it goes on from the last checkpoint",
                ) from None
            if isinstance(message, KappaError):
                raise message
            if message is None:
                del owner[ready]
            else:
                listener(message)


def _work(job: Job, pipe: Connection) -> None:
    """The worker process: does the job, sends reports, then None or the error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to act on
    threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()

    def send(report: Report) -> None:
        pipe.send(report)

    try:
        run_job(job, send)
    except KappaError as error:
        pipe.send(_sendable(error))
        return
    pipe.send(None)


def _end_with_parent(pipe: Connection) -> None:
    """The parent never sends: the pipe ends when it does, however it ends."""
    try:
        pipe.recv()
    except (EOFError, OSError):
        os._exit(1)


def _sendable(error: KappaError) -> KappaError:
    """The error without its cause, which may hold sockets and cannot be sent."""
    error.__cause__ = None
    error.__context__ = None
    return error
