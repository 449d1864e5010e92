"""The storm: eight processes of which one joins or leaves every two seconds, under load.

``python -m tests.live.storm --seconds N`` prints what was done to them and what came of it; a
partition that does not go on within a minute, or a wrong result, ends it with an error.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import deque
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from tests.live.invariants import PROGRESS_S, check
from tests.live.running import Run
from tests.live.scenes import Scene
from tests.live.soak import soak_site
from tests.readings import TOTALS

PROCESSES = 8
PARTITIONS = 8
EVERY_S = 2.0
RECORDS = 160
"""Published with every join and every leave."""
KILLED = 3
"""One in so many leaves by SIGKILL."""


@dataclass
class Report:
    """One storm. ``longest_still_s`` is the longest that a partition with a lag stood still."""

    seconds: float = 0.0
    joined: int = 0
    left: int = 0
    killed: int = 0
    takeovers: int = 0
    records: int = 0
    longest_still_s: float = 0.0

    def render(self) -> str:
        """The report for people."""
        lines = {
            "time": f"{self.seconds:,.0f} s",
            "processes joined": self.joined,
            "processes left in good order": self.left,
            "processes killed": self.killed,
            "partitions taken over": f"{self.takeovers:,}",
            "records": f"{self.records:,}",
            "longest without progress": f"{self.longest_still_s:.1f} s",
        }
        return "\n".join(f"{name:34}{value}" for name, value in lines.items())


class Storm:
    """One storm in a scene, of so many processes at most. One of them stays.

    Nobody waits for a rebalance to end before the next begins.
    """

    def __init__(self, scene: Scene, processes: int, every_s: float) -> None:
        self._scene = scene
        self._processes = processes
        self._every_s = every_s
        self._passing: deque[Run] = deque()
        self._leaving: list[Run] = []
        self._reached: dict[int, int] = {}
        self._moved_at: dict[int, float] = {}
        self.report = Report()

    def run(self, seconds: float) -> Report:
        """The whole of it.

        Raises:
            AssertionError: a partition stood still for a minute, or something is wrong.
        """
        scene, report = self._scene, self.report
        steady = scene.run()
        scene.publish(RECORDS)
        scene.catch_up()
        began = time.monotonic()
        while (now := time.monotonic()) < began + seconds:
            if len(self._passing) < self._processes - 1:
                self._passing.append(scene.run())
                report.joined += 1
            else:
                self._leave(self._passing.popleft())
            scene.publish(RECORDS)
            self._watch(now + self._every_s)
        report.seconds = time.monotonic() - began
        while self._passing:
            self._leave(self._passing.popleft(), kill=False)
        for run in self._leaving:
            assert run.ended() == 0, run.log.read_text()
        scene.publish(RECORDS)
        check(scene)
        assert steady.running
        report.takeovers, report.records = scene.history.takeovers, len(scene.sent)
        return report

    def _leave(self, run: Run, *, kill: bool | None = None) -> None:
        """In the middle of what it does, or in good order, which nobody waits for here."""
        run.started()
        self._moved_at = dict.fromkeys(self._moved_at, time.monotonic())  # nobody watched
        if kill is None:
            kill = (self.report.left + self.report.killed) % KILLED == 0
        if kill:
            run.kill()
            self.report.killed += 1
        else:
            run.ask_to_stop()
            self._leaving.append(run)
            self.report.left += 1

    def _watch(self, until: float) -> None:
        """Whether every partition goes on; until the next one joins or leaves."""
        while True:
            now, ends = time.monotonic(), self._scene.site.ends(self._scene.topic)
            for number, position in self._scene.site.positions(self._scene.name).items():
                if position != self._reached.get(number) or position == ends[number]:
                    self._reached[number], self._moved_at[number] = position, now
                still_s = now - self._moved_at[number]
                assert still_s < PROGRESS_S, f"partition {number} stands still"
                self.report.longest_still_s = max(self.report.longest_still_s, still_s)
            if now >= until:
                return
            time.sleep(min(0.25, max(until - now, 0)))


def main() -> int:
    """Starts servers if none are named, and lets it storm."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.storm", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    options = parser.parse_args()
    with ExitStack() as stack:
        made = stack.enter_context(tempfile.TemporaryDirectory(prefix="kappa-storm-"))
        site = stack.enter_context(soak_site(Path(made)))
        scene = stack.enter_context(closing(Scene(site, Path(made), TOTALS, PARTITIONS, {})))
        storm = Storm(scene, PROCESSES, EVERY_S)
        try:
            storm.run(options.seconds)
        finally:
            print(storm.report.render())
    return 0


if __name__ == "__main__":
    sys.exit(main())
