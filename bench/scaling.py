"""``python -m bench scaling``: how fast ``kappa run`` catches up with one worker, and with more."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench import orders, pinned, servers, topic
from bench.catch_up import CATCH_UP, SCALED
from bench.following import following, workers_of

RECORDS = 4_000_000
LEAST_TIMES = 1.5
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
class Report:
    """All in one run.

    Attributes:
        cores: what the machine has, for the servers too.
        load: processes that wanted to run, on average, in the minute before.
        unmeasured: numbers of workers that the machine has no cores for.
    """

    cores: int
    load: float
    caught: tuple[Caught, ...]
    unmeasured: tuple[int, ...]


def measure(records: int) -> Report:
    """Builds a version for each number of workers, publishes, and lets each catch up.

    Raises:
        Wrong: see there.
    """
    load = os.getloadavg()[0]
    cores = sorted(os.sched_getaffinity(0))
    numbers = [number for number in SCALED if number <= len(cores)]
    with servers.running() as (kafka, server_url):
        topic.renew(kafka, CATCH_UP)
        with servers.fresh_database(server_url, "kappa_bench_scaling") as url:
            environment = pinned.environment(kafka.bootstrap_servers, url, orders.COUNT)
            servers.kappa("db", "upgrade", environment=environment)
            for number in numbers:
                for command in ("replay", "promote"):
                    servers.kappa(command, SCALED[number].name, environment=environment)
            topic.publish(kafka, CATCH_UP, CATCH_UP.name, CATCH_UP.chunks(records))
            end = topic.held(kafka, CATCH_UP.name) or 0
            caught = [_caught(number, end, url, cores, environment) for number in numbers]
            _check(url, numbers, end)
        topic.delete(kafka, CATCH_UP.name)
    unmeasured = tuple(number for number in SCALED if number not in numbers)
    return Report(len(cores), load, tuple(caught), unmeasured)


def _caught(
    workers: int, end: int, url: str, cores: list[int], environment: Mapping[str, str]
) -> Caught:
    name = SCALED[workers].name
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


def _check(url: str, numbers: list[int], records: int) -> None:
    """Whether every record was counted once, and alike by any number of workers."""
    alone = SCALED[1].name
    with psycopg.connect(url) as connection:
        for number in numbers:
            name = SCALED[number].name
            ((counted, other),) = connection.execute(
                f"SELECT (SELECT sum(orders) FROM {name}),"
                f" (SELECT count(*) FROM (TABLE {name} EXCEPT TABLE {alone}) AS other)"
            ).fetchall()
            if (counted, other) != (records, 0):
                raise Wrong(f"{name} counts {counted} of {records} orders, {other} rows differ")


def render(report: Report) -> str:
    """The report for people."""
    alone = report.caught[0].rate
    return "\n".join(
        [
            f"{'workers':>7}{'records':>12}{'seconds':>9}{'records/s':>12}{'times':>8}",
            *(
                f"{c.workers:7}{c.records:12,}{c.seconds:9.2f}{c.rate:12,.0f}{c.rate / alone:8.2f}"
                for c in report.caught
            ),
            *(
                f"{number:7}  not measured: the machine has {report.cores} cores"
                for number in report.unmeasured
            ),
            "",
            f"Two workers are to be {LEAST_TIMES} times as fast as one. Each is on a core of its"
            " own, but Kafka,",
            f"PostgreSQL and this process share those {report.cores} cores with them. Every number"
            " of workers left the same rows.",
            f"The machine's load was {report.load:.1f} at the start and must be near zero for rates"
            " that mean something.",
        ]
    )
