"""``python -m bench replay``: each job by kappa and by hand, one after the other, checked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from bench import pinned, servers, topic, verify
from bench.jobs import JOBS
from bench.jobs.job import Job
from bench.pinned import Measured
from bench.stream import Stream


@dataclass(frozen=True)
class Stage:
    """A stage of kappa's, alone, over the records of one stream."""

    name: str
    measured: Measured


@dataclass(frozen=True)
class Done:
    """A job that left ``rows`` rows by either way, each as DuckDB computes it."""

    name: str
    title: str
    target: int
    by_hand: Measured
    kappa: Measured
    rows: int

    @property
    def ratio(self) -> float:
        """How many times the rate of the loop by hand kappa has."""
        return self.kappa.rate / self.by_hand.rate


@dataclass(frozen=True)
class Report:
    """Everything measured in one run, so that the rates are of the same machine and minutes.

    Attributes:
        core: on which each process ran, with all its threads.
        load: processes that wanted to run, on average, in the minute before.
    """

    core: int
    load: float
    stages: tuple[Stage, ...]
    jobs: tuple[Done, ...]


def measure(names: Sequence[str], records: int, core: int) -> Report:
    """Publishes what is missing, measures every job on ``core``, checks what it left.

    Raises:
        Wrong: a table does not hold what it must.
    """
    load = os.getloadavg()[0]
    jobs = {name: JOBS[name] for name in names}
    streams = list(dict.fromkeys(job.stream for job in jobs.values()))
    with servers.running() as (kafka, server_url):
        for stream in streams:
            topic.ensure(kafka, stream, records)
        with servers.fresh_database(server_url, "kappa_bench") as url:
            environment = pinned.environment(kafka.bootstrap_servers, url, records)

            def run(module: str, *args: str) -> Measured:
                return pinned.run(module, *args, core=core, environment=environment)

            servers.kappa("db", "upgrade", environment=environment)
            stages = tuple(
                Stage(f"{stage} only: {stream.name}", run("bench", stage, stream.topic(records)))
                for stream in streams
                for stage in ("fetch", "decode")
            )
            by_hand, by_kappa = {}, {}
            for name, job in jobs.items():
                by_hand[name] = run("bench", "by-hand", name)
                by_kappa[name] = run("kappa", "replay", job.name, "--json")
                servers.kappa("promote", job.name, environment=environment)
            rows = {name: n for s in streams for name, n in _check(s, jobs, records, url).items()}
    done = (
        Done(name, job.title, job.target, by_hand[name], by_kappa[name], rows[name])
        for name, job in jobs.items()
    )
    return Report(core, load, stages, tuple(done))


def table_by_hand(job: Job) -> str:
    """Where the loop's rows go."""
    return f"{job.name}_by_hand"


def _check(stream: Stream, jobs: dict[str, Job], records: int, url: str) -> dict[str, int]:
    """How many rows each job of the stream left."""
    rows = {}
    with verify.recorded(stream, records) as database:
        for name, job in jobs.items():
            if job.stream is stream:
                verify.check(database, url, table_by_hand(job), job.expected)
                rows[name] = verify.check(database, url, job.name, job.expected)
    return rows


def missed(report: Report) -> list[str]:
    """What is below its target; a line each."""
    return [
        f"{job.name}: {job.kappa.rate:,.0f} records/s, {job.target:,} wanted"
        for job in report.jobs
        if job.kappa.rate < job.target
    ]


def render(report: Report) -> str:
    """The report for people."""
    measured = [(stage.name, stage.measured) for stage in report.stages]
    for job in report.jobs:
        measured += [(f"{job.name}: by hand", job.by_hand), (f"{job.name}: kappa", job.kappa)]
    lines = [
        f"{'':32}{'records':>12}{'rows':>10}{'seconds':>9}{'records/s':>12}{'process s':>11}"
        f"{'CPU s':>8}{'peak MiB':>10}",
        *(
            f"{name:32}{m.records:12,}{_count(m.rows):>10}{m.seconds:9.2f}{m.rate:12,.0f}"
            f"{m.wall:11.2f}{m.cpu:8.2f}{m.peak_bytes / 2**20:10,.0f}"
            for name, m in measured
        ),
        "",
        f"{'':12}{'':48}{'records/s':>12}{'target':>12}{'by hand':>12}{'times':>8}",
        *(
            f"{job.name:12}{job.title:48}{job.kappa.rate:12,.0f}{job.target:12,}"
            f"{job.by_hand.rate:12,.0f}{job.ratio:8.1f}"
            for job in report.jobs
        ),
        "",
        f"On core {report.core}. Every row, by kappa and by hand, is as DuckDB computes it.",
        f"The machine's load was {report.load:.1f} at the start and must be near zero for rates"
        " that mean something.",
    ]
    return "\n".join(lines)


def _count(rows: int | None) -> str:
    return "" if rows is None else f"{rows:,}"
