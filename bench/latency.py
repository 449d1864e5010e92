"""``python -m bench latency``: from send to visible, by ``kappa run`` and by a bare loop."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import psycopg

from bench import bare_loop, pinned, servers, ticks, topic
from bench.following import following
from bench.seen import Seen, look, watch
from bench.ticks import TICKS
from kappa.config import KafkaSettings
from kappa.log.history import topic_history

RATE = 10_000
SECONDS = 20
MAX_DELAY_MS = 5
MOST_TIMES = 3.0
WARM_UP_S = 2
_WAIT_S = 90.0
_SPAWN = multiprocessing.get_context("spawn")


class Wrong(Exception):
    """Ticks were lost, counted twice or never seen."""


@dataclass(frozen=True)
class Latency:
    """From send to visible, in milliseconds, over all ticks after the warm-up.

    ``looks`` is how often per second the table was looked at, which is as fine as it gets.
    """

    ticks: int
    p50: float
    p95: float
    p99: float
    worst: float
    looks: float


@dataclass(frozen=True)
class Report:
    """Both ways in one run, so that they are of the same machine and minutes.

    Attributes:
        rate: ticks per second.
        max_delay_ms: how long either way gathers a batch.
        load: processes that wanted to run, on average, in the minute before.
    """

    rate: int
    max_delay_ms: int
    load: float
    bare: Latency
    kappa: Latency

    @property
    def times(self) -> float:
        """How many times the bare loop's 99th percentile kappa's is."""
        return self.kappa.p99 / self.bare.p99


def measure(rate: int, seconds: int, max_delay_ms: int) -> Report:
    """Sends ticks at a steady rate, first to a bare loop, then to ``kappa run``.

    Raises:
        Wrong: a way did not show every tick exactly once.
    """
    load = os.getloadavg()[0]
    with servers.running() as (kafka, server_url):
        if topic.held(kafka, TICKS.name) is None:
            topic.create(kafka, TICKS, TICKS.count)
        with servers.fresh_database(server_url, "kappa_bench_latency") as url:

            def measured(table: str, count: str) -> Latency:
                return _measured(kafka, url, table, count, rate, seconds)

            bare_loop.prepare(url)
            with _bare_loop(kafka, url, max_delay_ms):
                bare = measured(bare_loop.TABLE, "count(*)")
            environment = pinned.environment(kafka.bootstrap_servers, url, TICKS.count)
            name = ticks.latest.name
            _build(name, environment)
            with following(name, "--max-delay", str(max_delay_ms), environment=environment):
                by_kappa = measured(name, "coalesce(sum(ticks), 0)")
    return Report(rate, max_delay_ms, load, bare, by_kappa)


def _build(name: str, environment: Mapping[str, str]) -> None:
    """Ready before a tick of this run, and shown."""
    for command in (("db", "upgrade"), ("replay", name), ("promote", name)):
        servers.kappa(*command, environment=environment)


@contextmanager
def _bare_loop(kafka: KafkaSettings, url: str, max_delay_ms: int) -> Iterator[None]:
    stopping = _SPAWN.Event()
    ends = [part.end for part in topic_history(kafka, TICKS.name).partitions]
    process = _SPAWN.Process(
        target=bare_loop.run,
        args=(kafka.bootstrap_servers, url, ends, max_delay_ms / 1000, stopping),
        daemon=True,
    )
    process.start()
    try:
        yield
    finally:
        stopping.set()
        process.join()


def _measured(
    kafka: KafkaSettings, url: str, table: str, count: str, rate: int, seconds: int
) -> Latency:
    """Sends and looks, once the table has shown that somebody follows."""
    with (
        psycopg.connect(url, autocommit=True) as connection,
        ProcessPoolExecutor(1, mp_context=_SPAWN) as sender,
    ):
        (before,) = connection.execute(f"SELECT {count} FROM {table}").fetchall()
        hello = sender.submit(ticks.send, kafka, TICKS.name, rate, ticks.SENSORS).result()
        _until(lambda: look(connection, table) == [int(lane[-1]) for lane in hello])
        sending = sender.submit(ticks.send, kafka, TICKS.name, rate, rate * seconds)
        began = time.perf_counter()
        seen = watch(connection, table, lambda _: sending.done())
        looks = len(seen.at) / (time.perf_counter() - began)
        sent = sending.result()
        last = [int(lane[-1]) for lane in sent]
        deadline = time.monotonic() + _WAIT_S
        rest = watch(connection, table, lambda s: _shows(s, last) or time.monotonic() > deadline)
        for at, *latest in zip(rest.at, *rest.latest, strict=True):
            seen.add(at, latest)
        (after,) = connection.execute(f"SELECT {count} FROM {table}").fetchall()
    if (counted := after[0] - before[0]) != rate * seconds + ticks.SENSORS:
        raise Wrong(f"{table} counts {counted} ticks of {rate * seconds + ticks.SENSORS}")
    from_us = min(int(lane[0]) for lane in sent) + WARM_UP_S * 1_000_000
    kept = [lane[lane >= from_us] for lane in sent]
    return _summed_up(seen, kept, looks)


def _summed_up(seen: Seen, sent: ticks.Sent, looks: float) -> Latency:
    took = seen.latencies(sent) / 1000
    p50, p95, p99 = (float(value) for value in np.percentile(took, [50, 95, 99]))
    return Latency(len(took), p50, p95, p99, float(took.max()), looks)


def _shows(seen: Seen, last: list[int]) -> bool:
    return bool(seen.at) and [lane[-1] for lane in seen.latest] == last


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not holds():
        if time.monotonic() > deadline:
            raise Wrong("nobody follows the ticks")
        time.sleep(0.05)


def missed(report: Report) -> list[str]:
    """What is beyond what is wanted."""
    if report.times <= MOST_TIMES:
        return []
    return [f"p99 {report.times:.1f} times the bare loop's, at most {MOST_TIMES:.0f} wanted"]


def render(report: Report) -> str:
    """The report for people."""
    verdict = "within" if report.times <= MOST_TIMES else "beyond"
    return "\n".join(
        [
            f"{report.rate:,} ticks/s, batches of at most {report.max_delay_ms} ms, from send to"
            " visible:",
            f"{'':12}{'ticks':>10}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'worst':>9}"
            f"{'looks/s':>9}",
            *(
                f"{name:12}{way.ticks:10,}{way.p50:9.1f}{way.p95:9.1f}{way.p99:9.1f}"
                f"{way.worst:9.1f}{way.looks:9.0f}"
                for name, way in (("bare loop", report.bare), ("kappa run", report.kappa))
            ),
            f"p99 {report.times:.1f} times the bare loop's, {verdict} the {MOST_TIMES:.0f} wanted.",
            "",
            f"Every tick was shown, once. The machine's load was {report.load:.1f} at the start"
            " and must be near zero for times that mean something.",
        ]
    )
