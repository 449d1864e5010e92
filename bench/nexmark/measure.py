"""``python -m bench nexmark``: each query replayed from Kafka into PostgreSQL, and checked."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from bench import pinned, servers, verify
from bench.nexmark import PLUGINS, expected, publish, topics
from bench.nexmark.config import Config
from bench.nexmark.queries import BUILT, MISSING, Missing, Query
from bench.nexmark.schemas import KINDS
from bench.pinned import Measured
from kappa import config
from kappa.config import Settings, require_kafka
from kappa.log import topics as log_topics
from kappa.log.history import topic_history

EVENTS = 2_000_000
CONFIG = Config()
"""The published rate and base time, in order."""


@dataclass(frozen=True)
class Result:
    """One query: ``measured.rows`` rows, each of which is as DuckDB computes it."""

    name: str
    title: str
    measured: Measured

    def events_rate(self, events: int) -> float:
        """Events per second, of which the query reads the bids."""
        return events / self.measured.seconds


@dataclass(frozen=True)
class Report:
    """All queries of one run.

    Attributes:
        core: on which each replay ran, with all its threads.
        load: processes that wanted to run, on average, in the minute before.
        events: people, auctions and bids; queries read the bids.
        missing: the queries that are not built.
    """

    core: int
    load: float
    events: int
    results: tuple[Result, ...]
    missing: tuple[Missing, ...]


def measure(events: int, core: int) -> Report:
    """Publishes the events if need be and replays every query on ``core``.

    Raises:
        verify.Wrong: a view does not hold what it must.
    """
    load = os.getloadavg()[0]
    with servers.running() as (_, server_url):
        prefix = _ensure(config.load(), events)
        with (
            servers.fresh_database(server_url, "kappa_nexmark") as url,
            expected.bids(events, CONFIG, publish.PARTITIONS) as database,
        ):
            environment = _environment(url, prefix)
            servers.kappa("db", "upgrade", environment=environment)
            results = tuple(_result(q, core, environment, database, url) for q in BUILT)
    return Report(core, load, events, results, MISSING)


def _result(
    query: Query,
    core: int,
    environment: Mapping[str, str],
    database: duckdb.DuckDBPyConnection,
    url: str,
) -> Result:
    done = pinned.run("kappa", "replay", query.name, "--json", core=core, environment=environment)
    servers.kappa("promote", query.name, environment=environment)
    rows = verify.check(database, url, query.name, query.sql)
    assert rows == done.rows
    return Result(query.name, query.title, done)


def _environment(url: str, prefix: str) -> dict[str, str]:
    """What a kappa process sees: this database, these topics, and the queries' processors."""
    path = os.pathsep.join([str(PLUGINS), str(pinned.ROOT)])
    kafka = require_kafka(config.load())
    return {
        **os.environ,
        "KAPPA_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAPPA_POSTGRES__URL": url,
        "KAPPA_NEXMARK_PREFIX": prefix,
        "PYTHONPATH": path,
    }


def _ensure(settings: Settings, count: int) -> str:
    """The prefix of the topics that hold the first ``count`` events; publishes them if need be."""
    kafka = require_kafka(settings)
    prefix = f"{topics.PREFIX}_{count}"
    names = [publish.topic_of(prefix, kind) for kind in KINDS]
    if not any(log_topics.exists(kafka, name) for name in names):
        publish.create(settings, prefix)
        began = time.perf_counter()
        publish.publish(settings, prefix, count, CONFIG)
        seconds = time.perf_counter() - began
        print(f"published {count:,} events, {count / seconds:,.0f}/s", file=sys.stderr)
        return prefix
    parts = [part for name in names for part in topic_history(kafka, name).partitions]
    present = sum(part.end - part.log_start for part in parts)
    if present != count:
        listed = ", ".join(names)
        raise SystemExit(
            f"{listed} hold {present:,} events instead of {count:,}: delete them first"
        )
    return prefix


def render(report: Report) -> str:
    """The report for people."""
    named = [(r.name, r.title, r.measured, r.events_rate(report.events)) for r in report.results]
    lines = [
        f"{'':13}{'':37}{'bids':>12}{'rows':>12}{'seconds':>10}{'bids/s':>12}{'events/s':>12}"
        f"{'CPU s':>8}",
        *(
            f"{name:13}{title:37}{m.records:12,}{m.rows:12,}{m.seconds:10.2f}{m.rate:12,.0f}"
            f"{events:12,.0f}{m.cpu:8.2f}"
            for name, title, m, events in named
        ),
        "",
        f"{report.events:,} events, of which these queries read the bids, on core {report.core}:"
        " events/s is the rate of the",
        "whole stream that a query keeps up with, bids/s of what it reads.",
        "Every row is as DuckDB computes it from the same events.",
        f"The machine's load was {report.load:.1f} at the start and must be near zero for rates"
        " that mean something.",
        "",
        "Not built:",
        *(f"{m.name:13}{m.title:37}{m.waits_for}" for m in report.missing),
    ]
    return "\n".join(lines)
