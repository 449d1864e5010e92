"""``python -m bench state``: what a state per key costs when there are very many keys."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
import psycopg

from bench import pinned, servers, topic
from bench.pinned import Measured, Pinned
from bench.visits import VISITS, Returns, visitor
from kappa.config import KafkaSettings

MOST_BYTES = 2**30
MOST_RESTART_S = 10.0
_POLL_S = 0.005


class Wrong(Exception):
    """The state does not hold every key, or a restart did not find it."""


@dataclass(frozen=True)
class Report:
    """A processor with a counter per key, built and started again.

    Attributes:
        core: on which each process ran, with all its threads.
        load: processes that wanted to run, on average, in the minute before.
        keys: how many there are.
        build: the replay of a record of each key.
        restart: a replay of the built version, with one more record.
        restarted_s: from the start of that process until the record was applied and committed.
    """

    core: int
    load: float
    keys: int
    build: Measured
    restart: Measured
    restarted_s: float


def measure(keys: int, core: int) -> Report:
    """Publishes a record of every key if need be, builds the state, adds a record, starts again.

    Raises:
        Wrong: the state is not what it must be.
    """
    load = os.getloadavg()[0]
    name = VISITS.topic(keys)
    with servers.running() as (kafka, server_url):
        present = topic.held(kafka, name)
        if present is None:
            topic.create(kafka, VISITS, keys)
            present = keys
        elif present < keys:
            raise SystemExit(f"{name} holds {present:,} of {keys:,} records: delete it first")
        with servers.fresh_database(server_url, "kappa_bench") as url:
            environment = pinned.environment(kafka.bootstrap_servers, url, keys)
            servers.kappa("db", "upgrade", environment=environment)
            build = pinned.run(*_REPLAY, core=core, environment=environment)
            _return(kafka, name)
            restart, restarted_s = _restart(url, present + 1, core, environment)
            servers.kappa("promote", Returns.name, environment=environment)
            _check(url, keys, present + 1)
    return Report(core, load, keys, build, restart, restarted_s)


_REPLAY = ("kappa", "replay", Returns.name, "--json")


def _return(kafka: KafkaSettings, name: str) -> None:
    """Publishes one more visit of a visitor there is."""
    again = pl.select(visitor(pl.lit(0)))
    topic.publish(kafka, VISITS, name, iter([again]))


def _restart(
    url: str, end: int, core: int, environment: Mapping[str, str]
) -> tuple[Measured, float]:
    """The replay, and seconds from its start until all ``end`` offsets were committed."""
    with psycopg.connect(url, autocommit=True) as watch:
        process = Pinned(*_REPLAY, core=core, environment=environment)
        while _committed(watch) < end and process.running:
            time.sleep(_POLL_S)
        seconds = time.perf_counter() - process.began
    return process.result(), seconds


def _committed(watch: psycopg.Connection) -> int:
    ((offsets,),) = watch.execute("SELECT sum(next_offset) FROM kappa_offset").fetchall()
    return int(offsets)


def _check(url: str, keys: int, records: int) -> None:
    """Whether each visitor has a state, and the one who came again was counted every time.

    Every earlier run over the same topic has left it a visit of that one.
    """
    expected = (keys, records - keys, records - keys + 1)
    with psycopg.connect(url) as connection:
        (found,) = connection.execute(
            f"SELECT (SELECT count(*) FROM {Returns.name}__v1__state), count(*), max(visits)"
            f" FROM {Returns.name}"
        ).fetchall()
    if found != expected:
        raise Wrong(f"keys with a state, returns, most visits are {found} instead of {expected}")


def missed(report: Report) -> list[str]:
    """What is beyond what is wanted; a line each."""
    lines = []
    if report.build.peak_bytes > MOST_BYTES:
        lines.append(
            f"peak memory {report.build.peak_bytes / 2**20:,.0f} MiB,"
            f" at most {MOST_BYTES / 2**20:,.0f} wanted"
        )
    if report.restarted_s > MOST_RESTART_S:
        lines.append(f"restart {report.restarted_s:.2f} s, at most {MOST_RESTART_S:.0f} wanted")
    return lines


def render(report: Report) -> str:
    """The report for people."""
    build = report.build
    return "\n".join(
        [
            f"{report.keys:,} keys with a counter each, on core {report.core}.",
            f"build         {build.seconds:8.2f} s, {build.rate:,.0f} records/s",
            f"peak memory   {build.peak_bytes / 2**20:8,.0f} MiB, at most"
            f" {MOST_BYTES / 2**20:,.0f} wanted",
            f"restart       {report.restarted_s:8.2f} s from the process's start until a record"
            f" was applied, at most {MOST_RESTART_S:.0f} wanted",
            f"              {report.restart.peak_bytes / 2**20:8,.0f} MiB meanwhile",
            "",
            f"The machine's load was {report.load:.1f} at the start and must be near zero for"
            " times that mean something.",
        ]
    )
