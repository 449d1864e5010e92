"""The torture: promotes and rollbacks under load, with kills, while readers look on.

``python -m tests.live.torture --swaps N`` has two writers, a ``kappa run``, eight readers and N
swaps, about half of which are killed somewhere on their way and run again. It prints what was done
and ends with status 1 if a reader saw an error, a gap, or time go back, or came to read less than
LEAST_HERTZ times a second; or if a command was refused.
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

from kappa.avro import schema as avro
from kappa.errors import NotCaughtUp
from kappa.registry.topic import value_subject
from kappa.tables.digest import digest
from tests.faults import Site, wait_until
from tests.live.lanes import LANES, PROCESSOR, SCHEMA, expected
from tests.live.running import Run
from tests.live.soak import ROOT, soak_site

READERS = 8
PER_SECOND = 200
"""Records of each lane."""
LEAST_HERTZ = 100.0
"""Of each reader: they pause for 4 ms, and what is lost besides are waits for swaps."""
SEED = 20_260_101
KILLED = 0.4
"""Of all swaps, and of all moments between two swaps, how many meet a kill."""
TRIES = 3
BEHIND = "behind what readers have seen"
STEPS = ("drained", "promote_locked", "promote_written", "promote_moved", "promoted")


@dataclass
class Report:
    """One torture. ``breaks`` is to be empty."""

    swaps: int = 0
    seconds: float = 0.0
    attempts: int = 0
    drains: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    readers: dict[str, Any] = field(default_factory=dict)
    records: int = 0
    breaks: list[str] = field(default_factory=list)

    def render(self) -> str:
        """The report for people."""
        lines = {
            "swaps": f"{self.swaps} in {self.seconds:,.0f} s",
            "transactions tried": self.attempts,
            "drains": self.drains,
            "killed": dict(self.killed) or "none",
            "records": f"{self.records:,}",
            "reads": f"{self.readers['reads']:,}, {self.readers['hertz']:,.0f} a second at least",
            "longest read": f"{self.readers['longest_s'] * 1000:,.0f} ms",
            "reader errors": len(self.readers["errors"]),
            "backward reads": len(self.readers["backward"]),
            "gaps": len(self.readers["gaps"]),
            "breaks": len(self.breaks),
        }
        text = [f"{name:20}{value}" for name, value in lines.items()]
        return "\n".join([*text, *(f"  {one}" for one in self.breaks[:20])])


class Torture:
    """One torture at a site. ``directory`` is for logs."""

    def __init__(self, site: Site, directory: Path) -> None:
        self._site = site
        self._directory = directory
        self._dice = random.Random(SEED)
        self._topic = f"lanes{uuid.uuid4().hex[:10]}"
        self.name = ""
        self.report = Report()

    def run(self, swaps: int, least_hertz: float = 0.0) -> Report:
        """The whole of it. Each reader has to read ``least_hertz`` times a second."""
        self._prepare()
        with ExitStack() as stack:
            log = self._directory / "torture-run.log"
            run = stack.enter_context(
                Run(self._site.environment, log, self.name, "--max-delay", "20")
            )
            run.started(2)
            half = LANES // 2
            writers = [
                stack.enter_context(self._writer(list(lanes)))
                for lanes in (range(half), range(half, LANES))
            ]
            readers = stack.enter_context(self._readers())
            began = time.monotonic()
            for number in range(swaps):
                self._swap(number)
                if self._dice.random() < KILLED:
                    self._dice.choice(run.started()).kill()
                    self.report.killed["worker"] += 1
            self.report.seconds = time.monotonic() - began
            ends = {}
            for writer in writers:
                ends.update({int(lane): end for lane, end in _finished(writer).items()})
            self.report.records = sum(ends.values())
            wait_until("both versions have read everything", lambda: self._lag(ends) == 0)
            self.report.readers = _finished(readers)
            if run.stop() != 0:
                self.report.breaks.append("kappa run did not end with status 0")
        if self.report.readers["hertz"] < least_hertz:
            self.report.breaks.append(
                f"a reader came to read {self.report.readers['hertz']:.0f} times a second"
            )
        self._judge(ends)
        return self.report

    def _prepare(self) -> None:
        site = self._site
        site.create(self._topic, LANES, retention_ms="-1")
        subject = value_subject(self._topic)
        self._schema_id = site.registry.register(subject, avro.parse(SCHEMA)).schema_id
        self.name = site.processor(PROCESSOR, self._topic, versions=("first", "second"))
        for version in (1, 2):
            site.replay(self.name, version=version)
        promoted = self._site.kappa("promote", self.name, "--version", "1")
        assert promoted.returncode == 0, promoted.stderr

    def _swap(self, number: int) -> None:
        """To version 2 by promotes, back by rollbacks; the first time the one, then the other."""
        forward = number % 2 == 0
        command = ["promote", self.name, "--version", "2"] if forward else ["rollback", self.name]
        if self._dice.random() < KILLED:
            self._command(command, self._dice.choice(STEPS))
        done_already = not forward and self._serving() == 1  # it was killed after its COMMIT
        if done_already or self._command(command):
            self.report.swaps += 1

    def _command(self, command: list[str], failpoint: str | None = None) -> bool:
        """Whether it has done it, and was not killed where it was to be.

        Any refusal is a break: nobody else moves the view, and readers keep it for a moment only.
        Only on a slow machine a worker takes longer to be replaced than a promote is patient: then
        it is asked again.
        """
        for _ in range(TRIES):
            done = self._site.kappa(*command, "--json", failpoint=failpoint)
            if done.returncode != NotCaughtUp.exit_code or BEHIND not in done.stderr:
                break
        if failpoint is not None and done.returncode == -signal.SIGKILL:
            self.report.killed[failpoint] += 1
            return False
        if done.returncode != 0:
            at = "" if failpoint is None else f", to be killed at {failpoint}"
            self.report.breaks.append(f"{' '.join(command)}{at}: {done.stderr.strip()}")
            return False
        result = json.loads(done.stdout)
        self.report.attempts += result["attempts"]
        self.report.drains += result["drained"]
        return True

    def _writer(self, lanes: list[int]) -> subprocess.Popen[str]:
        orders = {
            "bootstrap_servers": self._site.kafka.bootstrap_servers,
            "topic": self._topic,
            "schema_id": self._schema_id,
            "lanes": lanes,
            "per_second": PER_SECOND,
        }
        return _started("tests.live.lane_writer", orders)

    def _readers(self) -> subprocess.Popen[str]:
        url = self._site.settings.postgres.url.get_secret_value()
        return _started(
            "tests.live.lane_readers", {"url": url, "view": self.name, "readers": READERS}
        )

    def _serving(self) -> int:
        ((version,),) = self._site.query(
            "SELECT active_version FROM kappa_processor WHERE name = :name", name=self.name
        )
        return int(version)

    def _lag(self, ends: dict[int, int]) -> int:
        rows = self._site.query(
            "SELECT partition, min(next_offset) FROM kappa_offset WHERE processor = :name"
            " GROUP BY partition",
            name=self.name,
        )
        at = {row[0]: row[1] for row in rows}
        return sum(end - at[lane] for lane, end in ends.items())

    def _judge(self, ends: dict[int, int]) -> None:
        report = self.report
        for what in ("errors", "backward", "gaps"):
            report.breaks += report.readers[what]
        rows = self._site.query(f"SELECT lane, latest, ticks, total FROM {self.name}")
        found = {row[0]: (row[1], row[2], int(row[3])) for row in rows}
        if found != expected(ends):
            report.breaks.append(f"the view holds {found}, not {expected(ends)}")
        with self._site.engine.connect() as connection:
            digests = [digest(connection, f"{self.name}__v{version}") for version in (1, 2)]
        if digests[0] != digests[1]:
            report.breaks.append(f"the versions differ: {digests}")


def _started(module: str, orders: dict[str, Any]) -> Any:
    """A process of these tests, killed when left if it is still there."""
    return _killed_when_left(
        subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(orders)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )


@contextmanager
def _killed_when_left(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it prints once its input ends."""
    printed, _ = process.communicate(timeout=120)
    found: dict[str, Any] = json.loads(printed)
    return found


def main() -> int:
    """Starts servers if none are named, and tortures."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.torture", description=__doc__)
    parser.add_argument("--swaps", type=int, default=200)
    options = parser.parse_args()
    with ExitStack() as stack:
        made = stack.enter_context(tempfile.TemporaryDirectory(prefix="kappa-torture-"))
        site = stack.enter_context(soak_site(Path(made)))
        report = Torture(site, Path(made)).run(options.swaps, LEAST_HERTZ)
    print(report.render())
    return 1 if report.breaks else 0


if __name__ == "__main__":
    sys.exit(main())
