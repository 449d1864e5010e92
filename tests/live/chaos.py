"""The chaos: six processes issue random commands about one processor, all at once.

``python -m tests.live.chaos --seconds N`` prints what they did and what was refused, and ends with
status 1 if ever not exactly one version served, or if anything was left half done. A build that is
killed and given up ends it, for builds are so short that no abort may have met one.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest
import sqlalchemy as sa

from kappa.tables.digest import digest
from kappa.versions import records
from kappa.versions.lifecycle import State
from tests.faults import Site, beside
from tests.live.chaos_commands import VERSIONS, act, do
from tests.live.invariants import half_done, tables_of
from tests.live.soak import soak_site
from tests.readings import good, readings

PROCESSES = 6
PARTITIONS = 3
GIVEN_UP = VERSIONS + 1
"""What CODE declares: one more than is built."""
KINDS = frozenset({"replay", "promote", "rollback", "retire"})
"""Commands of which each is done at least once, if that takes no more than MOST times longer."""
MOST = 4
SEED = 7
KILL_EVERY_S = 4.0
READ_EVERY_S, READ_S = 5.0, 1.0

CODE = """
from kappa import Count, Max, Source, Sum, Tumbling, WindowedAggregate

def totals(version):
    return WindowedAggregate(
        name="{name}",
        version=version,
        source=Source("{topic}", event_time="at", out_of_orderness="20s"),
        key=["sensor"],
        window=Tumbling("1m"),
        allowed_lateness="10s",
        aggregates={{"readings": Count(), "total": Sum("value"), "most": Max("code")}},
    )

globals().update({{f"v{{number}}": totals(number) for number in range(1, 82)}})
"""


@dataclass
class Report:
    """One chaos. ``breaks`` is to be empty."""

    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    killed: int = 0
    looks: int = 0
    swaps: int = 0
    breaks: list[str] = field(default_factory=list)

    def render(self) -> str:
        """The report for people."""
        lines = {
            "done": dict(sorted(self.done.items())),
            "refused": dict(sorted(self.refused.items())),
            "killed": self.killed,
            "swaps": self.swaps,
            "looks": f"{self.looks:,}",
            "breaks": len(self.breaks),
        }
        text = [f"{name:10}{value}" for name, value in lines.items()]
        return "\n".join([*text, *(f"  {one}" for one in self.breaks[:20])])


class Chaos:
    """One chaos at a site.

    Every KILL_EVERY_S a process is killed and another takes its place; every READ_EVERY_S a reader
    keeps the view's lock for a while.
    """

    def __init__(self, site: Site, directory: Path) -> None:
        self._site = site
        self._directory = directory
        self._topic = site.topic(PARTITIONS)
        self._schema_id = site.schema_id(self._topic)
        self._seed = 100
        self.name = site.processor(
            CODE, self._topic, [f"v{number}" for number in range(1, GIVEN_UP + 1)]
        )
        self.report = Report()
        self._seen = 0

    def run(self, seconds: float, processes: int = PROCESSES) -> Report:
        """The whole of it."""
        self._publish(300)
        do("replay", self._site.settings, self.name, 1)
        do("promote", self._site.settings, self.name, 1)
        until = time.monotonic() + seconds
        over = self._directory / "chaos-over"
        context = multiprocessing.get_context("spawn")
        numbers = itertools.count(SEED)

        def start() -> tuple[SpawnProcess, Path]:
            number = next(numbers)
            told = self._directory / f"chaos-{number}.jsonl"
            args = (self._site.settings, self.name, over, number, told)
            process = context.Process(target=act, args=args)
            process.start()
            return process, told

        with pytest.MonkeyPatch.context() as patch, _long_reader(self._site, self.name):
            patch.setenv("PYTHONPATH", str(self._site.plugins))
            workers = [start() for _ in range(processes)]
            kill_at = time.monotonic() + KILL_EVERY_S
            while any(worker.is_alive() for worker, _ in workers):
                self._look()
                if self._is_enough(time.monotonic() - until, seconds):
                    over.touch()
                if self.report.looks % 20 == 0:
                    self._publish(3)
                if kill_at < time.monotonic() < until - KILL_EVERY_S:
                    # One that has begun: on a slow machine nobody else would get that far.
                    begun = next((one for one in workers if one[1].exists()), None)
                    if begun is not None:
                        kill_at = time.monotonic() + KILL_EVERY_S
                        begun[0].kill()
                        begun[0].join()
                        self.report.killed += 1
                        workers = [*(one for one in workers if one is not begun), start()]
        for worker, _ in workers:
            worker.join()
        self._hear()
        self._give_up()
        self._judge()
        return self.report

    def _publish(self, count: int) -> None:
        self._seed += 1
        made = readings(count, seed=self._seed)
        self._site.publish(
            self._topic,
            (good(self._schema_id, n % PARTITIONS, one) for n, one in enumerate(made)),
        )

    def _is_enough(self, past: float, seconds: float) -> bool:
        """Whether time is over, and each kind was done once, if the machine is not far too slow."""
        if past < 0:
            return False
        done = {what for what, error in self._told() if error is None}
        return done >= KINDS or past > MOST * seconds

    def _told(self) -> Iterator[tuple[str, str | None]]:
        """What each command was, and the error with which it ended."""
        for told in self._directory.glob("chaos-*.jsonl"):
            for line in told.read_text().splitlines(keepends=True):
                if not line.endswith("\n"):  # it is being written
                    continue
                what, error = json.loads(line)
                yield what, error

    def _hear(self) -> None:
        for what, error in self._told():
            if error is None:
                self.report.done[what] += 1
            else:
                self.report.refused[error] += 1
                if error.endswith("!"):
                    self.report.breaks.append(f"{what}: {error}")

    def _give_up(self) -> None:
        """A build dies and is aborted."""
        version = ["--version", str(GIVEN_UP)]
        killed = self._site.kappa("replay", self.name, *version, failpoint="version_created")
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        do("abort", self._site.settings, self.name, GIVEN_UP)
        self.report.done["abort"] += 1

    def _look(self) -> None:
        """One snapshot: one version serves, and it is the one that the view selects from."""
        look = _LOOK.format(view=self.name)
        ((active, serving, shown, counted),) = self._site.query(look, name=self.name)
        self.report.looks += 1
        if counted < self._seen:
            self.report.breaks.append(f"{counted} readings are shown, after {self._seen}")
        self._seen = counted
        if serving != [active] or shown != [f"{self.name}__v{active}"]:
            self.report.breaks.append(f"active {active}, serving {serving}, shown {shown}")

    def _judge(self) -> None:
        """Every version is whole or gone; and all that are there hold the same."""
        site = self._site
        self._look()
        self.report.swaps = site.query(
            "SELECT count(*) FROM kappa_history WHERE processor = :name", name=self.name
        )[0][0]
        with site.engine.connect() as connection:
            found = records.list_versions(connection, self.name)
        for record in found:
            self.report.breaks += half_done(site, record)
            if record.state is not State.RETIRED:
                do("replay", site.settings, self.name, record.version)
        with site.engine.connect() as connection:
            digests = {
                record.version: [digest(connection, table) for table in tables_of(record)]
                for record in found
                if record.state is not State.RETIRED
            }
        if len(set(map(tuple, digests.values()))) != 1:
            self.report.breaks.append(f"versions differ: {digests}")


def _long_reader(site: Site, view: str) -> AbstractContextManager[None]:
    """Now and then a transaction reads the view and idles, as people's do."""

    def read(over: threading.Event) -> None:
        while not over.wait(READ_EVERY_S):
            with site.engine.connect() as connection:
                connection.execute(sa.text(f"SELECT count(*) FROM {view}"))
                over.wait(READ_S)

    return beside(read)


_LOOK = """
SELECT active_version,
  (SELECT array_agg(version) FROM kappa_version
   WHERE processor = :name AND state IN ('serving', 'draining')),
  (SELECT array_agg(DISTINCT source.relname::text) FROM pg_depend
   JOIN pg_rewrite ON pg_rewrite.oid = pg_depend.objid
   JOIN pg_class AS view ON view.oid = pg_rewrite.ev_class
   JOIN pg_class AS source ON source.oid = pg_depend.refobjid
   WHERE pg_depend.classid = 'pg_rewrite'::regclass
     AND pg_depend.refclassid = 'pg_class'::regclass
     AND view.relname = :name AND source.relkind = 'r' AND source.relname <> 'kappa_finality'),
  (SELECT coalesce(sum(readings), 0) FROM {view})
FROM kappa_processor WHERE name = :name
"""


def main() -> int:
    """Starts servers if none are named, and lets the commands loose."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--processes", type=int, default=PROCESSES)
    options = parser.parse_args()
    with ExitStack() as stack:
        made = stack.enter_context(tempfile.TemporaryDirectory(prefix="kappa-chaos-"))
        site = stack.enter_context(soak_site(Path(made)))
        report = Chaos(site, Path(made)).run(options.seconds, options.processes)
    print(report.render())
    return 1 if report.breaks else 0


if __name__ == "__main__":
    sys.exit(main())
