"""``python -m bench memory``: what a worker holds over many records, with the database paused."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import psutil
import psycopg

from bench import orders, pinned, servers, topic
from bench.catch_up import CATCH_UP, followed
from bench.following import following, workers_of
from bench.resident import Held, Sampler, growth, held
from kappa.config import KafkaSettings

RECORDS = 20_000_000
PAUSE_S = 60
MOST_BYTES = 2**30
"""64 MiB are fetched ahead; a batch holds 256 MiB at most, one is folded while the one before it
is committed; Python with its libraries is about 250 MiB. The rest of the GiB is the allocator's."""
MOST_GROWTH = 0.05
"""The allocator keeps pages of what was freed, and how many depends on the last batches' sizes: a
run rises or falls by a few per cent. Of 700 MiB 5 % are 35 MiB: less than four bytes for each of
the ten million records or more that come in the second half."""
_WARM_UP = orders.CHUNK
_WAIT_S = 3600.0
_SETTLE_S = 60.0
_POLL_S = 0.2


class Wrong(Exception):
    """The worker was replaced, or records were lost or counted twice."""


@dataclass(frozen=True)
class Report:
    """A followed version, from its first records to its last.

    Attributes:
        records: published while it followed.
        pause_s: how long the database was paused.
        seconds: from the first record to the last commit.
        peak_bytes: the most memory that a sample found resident.
        growth: of resident memory over the second half of the records, as a share of its mean.
        before, after: what was held while there was nothing to do.
    """

    records: int
    pause_s: float
    seconds: float
    peak_bytes: int
    growth: float
    before: Held
    after: Held


def measure(records: int, pause_s: float) -> Report:
    """Publishes while a version follows; pauses PostgreSQL when a third is committed.

    Raises:
        Wrong: see there.
    """
    with servers.running() as (kafka, server_url):
        topic.renew(kafka, CATCH_UP)
        with servers.fresh_database(server_url, "kappa_bench_memory") as url:
            environment = pinned.environment(kafka.bootstrap_servers, url, orders.COUNT)
            servers.kappa("db", "upgrade", environment=environment)
            for command in ("replay", "promote"):
                servers.kappa(command, followed.name, environment=environment)
            with (
                psycopg.connect(url, autocommit=True) as watch,
                following(followed.name, environment=environment) as run,
            ):
                report = _followed(kafka, watch, run.pid, records, pause_s)
                ((counted,),) = watch.execute(f"SELECT sum(orders) FROM {followed.name}").fetchall()
        topic.delete(kafka, CATCH_UP.name)
    if counted != records:
        raise Wrong(f"{counted} orders are counted of {records}")
    return report


def _followed(
    kafka: KafkaSettings, watch: psycopg.Connection, run: int, records: int, pause_s: float
) -> Report:
    first = min(_WARM_UP, records // 2)
    _publish(kafka, 0, first)
    _until(lambda: _committed(watch) >= first)
    (pid,) = workers_of(watch, followed.name)
    worker = psutil.Process(pid)
    processes = [worker, psutil.Process(run)]
    before = _at_rest(processes, watch)
    publisher = get_context("spawn").Process(
        target=_publish, args=(kafka, first, records), daemon=True
    )
    began = time.monotonic()
    with Sampler(worker) as sampler:
        publisher.start()
        _until(lambda: _committed(watch) >= records // 3)
        with _paused(watch):
            time.sleep(pause_s)
        _until(lambda: _committed(watch) >= records // 2)
        half = len(sampler.samples)
        _until(lambda: _committed(watch) >= records)
        seconds = time.monotonic() - began
    publisher.join()
    if publisher.exitcode or workers_of(watch, followed.name) != [pid]:
        raise Wrong("the publisher failed, or the worker was replaced")
    return Report(
        records=records,
        pause_s=pause_s,
        seconds=seconds,
        peak_bytes=max(sample.resident for sample in sampler.samples),
        growth=growth(sampler.samples[half:]),
        before=before,
        after=_at_rest(processes, watch, before),
    )


def _publish(kafka: KafkaSettings, first: int, records: int) -> None:
    """The orders from the ``first`` chunk's end on."""
    chunks = CATCH_UP.chunks(records)
    skipped = 0
    while skipped < first:
        skipped += len(next(chunks))
    topic.publish(kafka, CATCH_UP, CATCH_UP.name, chunks)


def _at_rest(
    processes: list[psutil.Process], watch: psycopg.Connection, wanted: Held | None = None
) -> Held:
    """What is held once it is ``wanted``, or has not changed for a while."""
    deadline = time.monotonic() + _SETTLE_S
    found, since = held(processes, watch), time.monotonic()
    while time.monotonic() < deadline and found != wanted:
        time.sleep(_POLL_S)
        now = held(processes, watch)
        if now != found:
            found, since = now, time.monotonic()
        elif wanted is None and time.monotonic() - since > _SETTLE_S / 6:
            break
    return found


@contextmanager
def _paused(watch: psycopg.Connection) -> Iterator[None]:
    """PostgreSQL as if the machine it runs on stood still: every process of it.

    Only the bench's own server may be paused.
    """
    ((directory,),) = watch.execute("SHOW data_directory").fetchall()
    if not Path(directory).is_relative_to(servers.HOME):
        raise SystemExit("only the bench's own PostgreSQL is paused: configure none")
    postmaster = psutil.Process(watch.info.backend_pid).parent()
    assert postmaster is not None
    postmaster.send_signal(signal.SIGSTOP)  # first, so that it starts nobody meanwhile
    stopped = [postmaster, *postmaster.children(recursive=True)]
    try:
        for process in stopped[1:]:
            process.send_signal(signal.SIGSTOP)
        yield
    finally:
        for process in reversed(stopped):
            os.kill(process.pid, signal.SIGCONT)


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not holds():
        if time.monotonic() > deadline:
            raise Wrong("the records are not all committed")
        time.sleep(_POLL_S)


def _committed(watch: psycopg.Connection) -> int:
    ((offsets,),) = watch.execute("SELECT sum(next_offset) FROM kappa_offset").fetchall()
    return int(offsets)


def missed(report: Report) -> list[str]:
    """What is beyond what is wanted; a line each."""
    lines = []
    if report.peak_bytes > MOST_BYTES:
        lines.append(
            f"peak memory {report.peak_bytes / 2**20:,.0f} MiB,"
            f" at most {MOST_BYTES / 2**20:,.0f} wanted"
        )
    if report.growth > MOST_GROWTH:
        lines.append(f"growth {report.growth:.1%}, at most {MOST_GROWTH:.0%} wanted")
    before, after = asdict(report.before), asdict(report.after)
    lines += [
        f"{after[what]} {what} afterwards, at most {held} wanted"
        for what, held in before.items()
        if after[what] > held
    ]
    return lines


def render(report: Report) -> str:
    """The report for people."""
    before, after = report.before, report.after
    return "\n".join(
        [
            f"{report.records:,} records in {report.seconds:,.0f} s, the database paused for"
            f" {report.pause_s:.0f} s of them.",
            f"peak memory   {report.peak_bytes / 2**20:8,.0f} MiB, at most"
            f" {MOST_BYTES / 2**20:,.0f} wanted",
            f"growth        {report.growth:8.1%} over the second half of the records, at most"
            f" {MOST_GROWTH:.0%} wanted",
            f"{'':14}{'before':>8}{'after':>8}",
            f"descriptors   {before.descriptors:8}{after.descriptors:8}",
            f"threads       {before.threads:8}{after.threads:8}",
            f"sessions      {before.sessions:8}{after.sessions:8}",
            "",
            "Every record was counted once, by the same worker from first to last.",
        ]
    )
