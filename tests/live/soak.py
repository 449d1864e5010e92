"""The soak: three ``kappa run`` under load, one of them killed or paused every ten seconds.

``python -m tests.live.soak --minutes N`` prints what was done to them and what came of it; a break
of an invariant ends it with status 1.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench.servers import fresh_database
from kappa.avro import schema as avro
from kappa.registry.topic import value_subject
from kappa.tables.digest import digest
from tests.conftest import servers_for_tests
from tests.faults import Site, migrated_site
from tests.live.footprint import Footprint
from tests.live.history import History, until
from tests.live.running import Run
from tests.live.soak_stream import CHUNK, PARTITIONS, PROCESSOR, SCHEMA, Sales

ROOT = Path(__file__).parents[2]
PROCESSES = 3
FAULT_EVERY_S = 10.0
PAUSE_S = 8.0
AT_WORK_S = 5.0
"""How long processes are measured at work, before the first fault."""
"""Longer than a group's session timeout: another member takes the partitions over meanwhile."""
CATCH_UP_S = 30.0
STOP_S = 10.0
LEAST_SHARE = 0.9
"""Of the rate asked for."""
KEPT_BYTES = 256 << 20
"""What allocators may keep of the largest batch there was, that after a pause."""
SEED = 20_250_101


@dataclass
class Report:
    """One soak. ``breaks`` is what was wrong, and is to be empty."""

    seconds: float = 0.0
    records: int = 0
    rate: float = 0.0
    done: Counter[str] = field(default_factory=Counter)
    takeovers: int = 0
    snapshots: int = 0
    caught_up_s: float | None = None
    most_lag: int = 0
    rows: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    breaks: list[str] = field(default_factory=list)

    def render(self) -> str:
        """The report for people."""
        caught_up = "never" if self.caught_up_s is None else f"{self.caught_up_s:.1f} s"
        lines = {
            "time under load": f"{self.seconds:,.0f} s",
            "records": f"{self.records:,} ({self.rate:,.0f} per second)",
            "workers killed": self.done["worker killed"],
            "supervisors killed": self.done["supervisor killed"],
            "workers paused": self.done["worker paused"],
            "processes left and joined again": self.done["left and joined"],
            "partitions taken over": f"{self.takeovers:,}",
            "snapshots checked": f"{self.snapshots:,}",
            "most lag": f"{self.most_lag:,} records",
            "lag zero after the last fault": caught_up,
            "rows compared": f"{self.rows:,}",
            "errors logged": dict(self.errors) or "none",
            "breaks": len(self.breaks),
        }
        text = [f"{name:34}{value}" for name, value in lines.items()]
        return "\n".join([*text, *(f"  {one}" for one in self.breaks[:20])])


class Soak:
    """One soak at a site. ``directory`` is for logs."""

    def __init__(self, site: Site, directory: Path, per_second: int) -> None:
        self._site = site
        self._directory = directory
        self._per_second = per_second
        self._dice = random.Random(SEED)
        self._runs: list[Run] = []
        self._logs: list[Path] = []
        self._started = 0
        self._last_fault_at = time.monotonic()
        self.report = Report()
        self.topic = f"sales{uuid.uuid4().hex[:10]}"
        self.name = ""

    def run(self, seconds: float, least_per_second: float = 0) -> Report:
        """The whole of it. Fewer records per second than ``least_per_second`` are a break."""
        site = self._site
        self._prepare()
        applied = f"SELECT sum(sales) FROM {self.name}__v1"
        url = site.settings.postgres.url.get_secret_value()
        with ExitStack() as stack:
            stack.callback(self._kill_all)
            history = stack.enter_context(History(url, self.name, applied, every_s=0.5))
            for _ in range(PROCESSES):
                self._runs.append(self._start())
            publisher = stack.enter_context(self._publisher())
            before = self._at_work(history)
            chunks = self._under_load(history, publisher, seconds)
            self.report.records = chunks * CHUNK
            self.report.rate = self.report.records / self.report.seconds
            if self.report.rate < least_per_second:
                self._break(f"{least_per_second:,.0f} records per second were wanted")
            self._catch_up(history)
            for run in self._runs:
                self._come_back(run, before)
                self._stop(run)
        self.report.takeovers, self.report.snapshots = history.takeovers, history.samples
        self.report.breaks += history.breaks
        self._compare(chunks)
        for log in self._logs:
            self.report.errors.update(_errors(log))
        return self.report

    def _prepare(self) -> None:
        """The version is built over the empty topic, so that every record is live."""
        site = self._site
        site.create(self.topic, PARTITIONS, retention_ms="-1")
        subject = value_subject(self.topic)
        self._schema_id = site.registry.register(subject, avro.parse(SCHEMA)).schema_id
        self.name = site.processor(PROCESSOR, self.topic, versions=("first", "second"))
        site.replay(self.name)

    def _start(self) -> Run:
        self._started += 1
        log = self._directory / f"run{self._started}.log"
        self._logs.append(log)
        return Run(self._site.environment, log, self.name, "--max-delay", "100")

    def _publisher(self) -> subprocess.Popen[str]:
        self._sales = Sales(time.time_ns() // 1_000_000, self._per_second, SEED)
        orders = {
            "bootstrap_servers": self._site.kafka.bootstrap_servers,
            "topic": self.topic,
            "schema_id": self._schema_id,
            "start_ms": self._sales.start_ms,
            "per_second": self._per_second,
            "seed": SEED,
        }
        command = [sys.executable, "-m", "tests.live.soak_publisher", json.dumps(orders)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)

    def _at_work(self, history: History) -> Footprint:
        """The most that any process takes once records of every partition are committed."""
        until(lambda: len(history.positions) == PARTITIONS and all(history.positions.values()), 60)
        seen: list[Footprint] = []

        def look() -> bool:
            seen.extend(filter(None, [run.footprint() for run in self._runs]))
            return False

        until(look, AT_WORK_S)
        return Footprint.most(seen)

    def _come_back(self, run: Run, before: Footprint) -> None:
        """It takes what the processes took before the first fault."""
        if beyond := run.not_given_back(before, KEPT_BYTES):
            self._break(f"{run.log.name}: has not come back to what it took: {beyond}")

    def _under_load(
        self, history: History, publisher: subprocess.Popen[str], seconds: float
    ) -> int:
        """A fault every ten seconds; how many chunks were published meanwhile."""
        began = time.monotonic()
        faults = [self._kill_worker, self._pause_worker, self._kill_supervisor, self._rejoin]
        while began + seconds - time.monotonic() > FAULT_EVERY_S / 2:
            next_at = time.monotonic() + FAULT_EVERY_S
            self._dice.choice(faults)()
            self._last_fault_at = time.monotonic()
            while time.monotonic() < next_at:
                self.report.most_lag = max(self.report.most_lag, self._lag(history))
                time.sleep(0.5)
        printed, _ = publisher.communicate()
        published = json.loads(printed)
        self.report.seconds = published["seconds"]
        if published["unacknowledged"]:
            raise RuntimeError(f"the publisher could not publish: {published}")
        return int(published["chunks"])

    def _catch_up(self, history: History) -> None:
        left = max(self._last_fault_at + CATCH_UP_S - time.monotonic(), 0)
        if until(lambda: self._lag(history) == 0, left) is None:
            self._break(f"{self._lag(history):,} records behind {CATCH_UP_S:.0f} s after a fault")
            until(lambda: self._lag(history) == 0, 120)
        else:
            self.report.caught_up_s = time.monotonic() - self._last_fault_at

    def _some(self) -> int:
        return self._dice.randrange(PROCESSES)

    def _worker(self) -> psutil.Process:
        return self._dice.choice(self._runs[self._some()].started())

    def _kill_worker(self) -> None:
        self._worker().kill()
        self.report.done["worker killed"] += 1

    def _pause_worker(self) -> None:
        worker = self._worker()
        worker.send_signal(signal.SIGSTOP)
        until(lambda: False, PAUSE_S)
        worker.send_signal(signal.SIGCONT)
        self.report.done["worker paused"] += 1

    def _kill_supervisor(self) -> None:
        """Its workers end by themselves; another one takes its place."""
        number = self._some()
        self._runs[number].supervisor.kill()
        self._runs[number].kill()
        self._runs[number] = self._start()
        self.report.done["supervisor killed"] += 1

    def _rejoin(self) -> None:
        number = self._some()
        self._stop(self._runs[number])
        self._runs[number] = self._start()
        self.report.done["left and joined"] += 1

    def _stop(self, run: Run) -> None:
        """It ends in good order, in time."""
        began = time.monotonic()
        status = run.stop()
        took_s = time.monotonic() - began
        if status != 0:
            self._break(f"{run.log.name}: ended with status {status} after {took_s:.1f} s")
        elif took_s > STOP_S:
            self._break(f"{run.log.name}: took {took_s:.1f} s to stop")

    def _lag(self, history: History) -> int:
        ends = self._site.ends(self.topic)
        return sum(ends.values()) - sum(history.positions.get(number, 0) for number in ends)

    def _compare(self, chunks: int) -> None:
        """Rows with what the numbers say, and with a replay of other batches by two workers."""
        site, name = self._site, self.name
        found = {
            (row[0], int(row[1])): (row[2], int(row[3]))
            for row in site.query(
                "SELECT shop, extract(epoch FROM window_start) * 1000, sales, cents__units"
                f" FROM {name}__v1"
            )
        }
        expected = self._sales.expected(chunks)
        self.report.rows = len(found)
        wrong = [
            cell for cell in expected.keys() | found.keys() if expected.get(cell) != found.get(cell)
        ]
        for cell in wrong[:5]:
            self._break(f"{cell} is {found.get(cell)}, not {expected.get(cell)}")
        site.replay(name, 70_001, version=2, workers=2)
        with site.engine.connect() as connection:
            digests = [digest(connection, f"{name}__v{version}") for version in (1, 2)]
        if digests[0] != digests[1]:
            self._break(f"live and replayed differ: {digests}")

    def _break(self, what: str) -> None:
        self.report.breaks.append(what)

    def _kill_all(self) -> None:
        for run in self._runs:
            run.kill()


def _errors(log: Path) -> list[str]:
    lines = log.read_text().splitlines()
    found: list[dict[str, Any]] = [json.loads(line) for line in lines if '"error"' in line]
    return [str(line["error"]) for line in found if "error" in line]


@contextmanager
def soak_site(directory: Path) -> Iterator[Site]:
    """A site of the soak's own: the servers of the tests, else a stack that is gone afterwards."""
    with ExitStack() as stack:
        servers = stack.enter_context(servers_for_tests())
        url = stack.enter_context(fresh_database(servers.postgres_url, f"soak_{uuid.uuid4().hex}"))
        yield stack.enter_context(
            migrated_site(servers.bootstrap_servers, url, directory / "plugins")
        )


def main() -> int:
    """Starts servers if none are named, and soaks."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--per-second", type=int, default=20_000)
    parser.add_argument("--logs", type=Path, help="a directory to keep logs in")
    options = parser.parse_args()
    with ExitStack() as stack:
        made = stack.enter_context(tempfile.TemporaryDirectory(prefix="kappa-soak-"))
        directory = options.logs or Path(made)
        site = stack.enter_context(soak_site(directory))
        soak = Soak(site, directory, options.per_second)
        report = soak.run(options.minutes * 60, LEAST_SHARE * options.per_second)
    print(report.render())
    return 1 if report.breaks else 0


if __name__ == "__main__":
    sys.exit(main())
