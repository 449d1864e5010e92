"""``python -m bench scaling``: how fast ``kappa run`` catches up with one worker, and with more."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench import orders, pinned, servers, topic
from bench.catch_up import LEAST_TIMES, SCALED, Scaled
from bench.following import following, workers_of
from kappa.config import KafkaSettings

RECORDS = 16_000_000
_WAIT_S = 900.0
_POLL_S = 0.01


class Wrong(Exception):
    """The workers did not begin, did not come to the end, or left other rows than one alone."""


@dataclass(frozen=True)
class Caught:
    """A version caught up by so many workers, each on a core.

    ``records`` and ``seconds`` count from when every worker had its partitions.
    """

    workers: int
    records: int
    seconds: float

    @property
    def rate(self) -> float:
        """Records per second, of all workers together."""
        return self.records / self.seconds


@dataclass(frozen=True)
class Job:
    """One job caught up on by each number of workers; see ``Scaled`` for ``least_times``."""

    title: str
    caught: tuple[Caught, ...]
    least_times: float | None

    def times(self, caught: Caught) -> float:
        """How many times as fast as one worker these were."""
        return caught.rate / self.caught[0].rate


@dataclass(frozen=True)
class Report:
    """All in one run.

    Attributes:
        cores: what the machine has, for the servers too.
        load: processes that wanted to run, on average, in the minute before.
        unmeasured: numbers of workers that the machine has no cores for.
    """

    cores: int
    load: float
    jobs: tuple[Job, ...]
    unmeasured: tuple[int, ...]


def measure(records: int) -> Report:
    """Builds a version for each number of workers, publishes, and lets each catch up.

    Raises:
        Wrong: see there.
    """
    load = os.getloadavg()[0]
    cores = sorted(os.sched_getaffinity(0))
    with servers.running() as (kafka, server_url):
        jobs = tuple(_job(kafka, server_url, scaled, records, cores) for scaled in SCALED)
    numbers = sorted({number for scaled in SCALED for number in scaled.by})
    unmeasured = tuple(number for number in numbers if number > len(cores))
    return Report(len(cores), load, jobs, unmeasured)


def _job(
    kafka: KafkaSettings, server_url: str, scaled: Scaled, records: int, cores: list[int]
) -> Job:
    stream = scaled.stream
    numbers = [number for number in scaled.by if number <= len(cores)]
    topic.renew(kafka, stream)
    with servers.fresh_database(server_url, "kappa_bench_scaling") as url:
        environment = pinned.environment(kafka.bootstrap_servers, url, orders.COUNT)
        servers.kappa("db", "upgrade", environment=environment)
        for number in numbers:
            for command in ("replay", "promote"):
                servers.kappa(command, scaled.by[number].name, environment=environment)
        topic.publish(kafka, stream, stream.name, stream.chunks(records))
        end = topic.held(kafka, stream.name) or 0
        caught = tuple(
            _caught(scaled.by[number].name, number, end, url, cores, environment)
            for number in numbers
        )
        _check(url, scaled, numbers, end)
    topic.delete(kafka, stream.name)
    return Job(scaled.title, caught, scaled.least_times)


def _caught(
    name: str,
    workers: int,
    end: int,
    url: str,
    cores: list[int],
    environment: Mapping[str, str],
) -> Caught:
    with (
        psycopg.connect(url, autocommit=True) as watch,
        following(name, "--workers", str(workers), environment=environment),
    ):
        deadline = time.monotonic() + _WAIT_S
        while len(pids := workers_of(watch, name)) < workers:
            _pause(deadline)
        for pid, core in zip(pids, cores, strict=False):
            _pin(pid, core)
        began, first = time.perf_counter(), _committed(watch, name)
        if first > end // 2:
            raise Wrong("the workers began when half of the records were read: publish more")
        while _committed(watch, name) < end:
            _pause(deadline)
        return Caught(workers, end - first, time.perf_counter() - began)


def _pause(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise Wrong("the workers do not come to the end")
    time.sleep(_POLL_S)


def _pin(pid: int, core: int) -> None:
    """Every thread the process has; those to come inherit it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def _committed(watch: psycopg.Connection, name: str) -> int:
    ((offsets,),) = watch.execute(
        "SELECT sum(next_offset) FROM kappa_offset WHERE processor = %s", [name]
    ).fetchall()
    return int(offsets)


def _check(url: str, scaled: Scaled, numbers: list[int], records: int) -> None:
    """Whether any number of workers left the same rows, and each record was counted once."""
    alone = scaled.by[1].name
    counted = scaled.counted or f"{records}"
    with psycopg.connect(url) as connection:
        for number in numbers:
            name = scaled.by[number].name
            ((rows, made_of, other),) = connection.execute(
                f"SELECT (SELECT count(*) FROM {name}), (SELECT {counted} FROM {name} LIMIT 1),"
                f" (SELECT count(*) FROM ((TABLE {name} EXCEPT TABLE {alone})"
                f"  UNION ALL (TABLE {alone} EXCEPT TABLE {name})) AS other)"
            ).fetchall()
            if not rows or (made_of, other) != (records, 0):
                raise Wrong(f"{name} counts {made_of} of {records} records, {other} rows differ")


def missed(report: Report) -> list[str]:
    """What is below what is wanted; a line each. What was not measured is not judged."""
    return [
        f"{job.title}: two workers {job.times(two):.2f} times as fast as one,"
        f" at least {job.least_times} wanted"
        for job in report.jobs
        for two in job.caught
        if two.workers == 2 and job.least_times and job.times(two) < job.least_times
    ]


def render(report: Report) -> str:
    """The report for people."""
    lines = []
    for job in report.jobs:
        lines += [
            job.title,
            f"{'workers':>7}{'records':>12}{'seconds':>9}{'records/s':>12}{'times':>8}",
            *(
                f"{c.workers:7}{c.records:12,}{c.seconds:9.2f}{c.rate:12,.0f}{job.times(c):8.2f}"
                for c in job.caught
            ),
            *(
                f"{number:7}  not measured: the machine has {report.cores} cores"
                for number in report.unmeasured
            ),
            "",
        ]
    return "\n".join(
        [
            *lines,
            f"Two workers are to be {LEAST_TIMES} times as fast as one where the work is theirs."
            " Each is on a core of",
            f"its own, but Kafka, PostgreSQL and this process share those {report.cores} cores with"
            " them. Every number of",
            "workers left the same rows. The machine's load was"
            f" {report.load:.1f} at the start and must be near zero for",
            "rates that mean something.",
        ]
    )
