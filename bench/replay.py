"""The measurement: each way of doing the job, one after the other, and whether it was done."""

from __future__ import annotations

import os
from dataclasses import dataclass

from bench import pinned, servers, topic, verify
from bench.pinned import Measured
from bench.processors import revenue

_COLUMNS = "SELECT product, window_start, orders, revenue FROM "


@dataclass(frozen=True)
class Report:
    """Everything measured in one run, so that the rates are of the same machine and minute.

    ``by_hand`` and ``kappa`` do the whole job; ``fetch`` and ``decode`` are stages of kappa's.
    """

    core: int
    load: float
    """Processes that wanted to run, on average, in the minute before."""
    fetch: Measured
    decode: Measured
    by_hand: Measured
    kappa: Measured
    windows: int
    """Rows of either table, each equal to what DuckDB computes from the orders."""

    @property
    def ratio(self) -> float:
        """How many times the rate of the loop by hand kappa has."""
        return self.kappa.rate / self.by_hand.rate


def measure(records: int, core: int) -> Report:
    """Publishes the orders if need be, runs every measurement on ``core``, checks both tables.

    Raises:
        Wrong: a table does not hold what it must.
    """
    load = os.getloadavg()[0]
    with servers.running() as (kafka, server_url):
        name = topic.ensure(kafka, records)
        with servers.fresh_database(server_url, "kappa_bench") as url:
            environment = pinned.with_plugins(
                {
                    "KAPPA_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
                    "KAPPA_POSTGRES__URL": url,
                    "KAPPA_BENCH_TOPIC": name,
                }
            )

            def run(module: str, *args: str) -> Measured:
                return pinned.run(module, *args, core=core, environment=environment)

            fetch = run("bench", "fetch", name)
            decode = run("bench", "decode", name)
            by_hand = run("bench", "by-hand", name)
            servers.kappa("db", "upgrade", environment=environment)
            kappa = run("kappa", "replay", revenue.name, "--json")
            servers.kappa("promote", revenue.name, environment=environment)
            verify.check(url, _COLUMNS + "by_hand", records)
            windows = verify.check(url, _COLUMNS + revenue.name, records)
        return Report(core, load, fetch, decode, by_hand, kappa, windows)


def render(report: Report) -> str:
    """The report for people."""
    named = {
        "fetch only": report.fetch,
        "decode only": report.decode,
        "by hand": report.by_hand,
        "kappa replay": report.kappa,
    }
    lines = [
        f"{'':14}{'records':>12}{'seconds':>10}{'records/s':>13}{'process s':>12}{'CPU s':>9}",
        *(
            f"{name:14}{m.records:12,}{m.seconds:10.2f}{m.rate:13,.0f}{m.wall:12.2f}{m.cpu:9.2f}"
            for name, m in named.items()
        ),
        "",
        f"The machine's load was {report.load:.1f} at the start and must be near zero for rates"
        " that mean something.",
        f"kappa is {report.ratio:.1f} times as fast as the loop by hand, on core {report.core}.",
        f"Both tables hold {report.windows:,} windows, each as DuckDB computes it.",
    ]
    return "\n".join(lines)
