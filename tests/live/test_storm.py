"""The storm, for a quarter of a minute and half as many processes; ``make soak`` is for longer."""

from __future__ import annotations

from collections.abc import Callable

from tests.live.scenes import Scene
from tests.live.storm import EVERY_S, PARTITIONS, Storm

SECONDS = 16
PROCESSES = 4


def test_processes_join_and_leave_one_upon_the_other(scene: Callable[..., Scene]) -> None:
    report = Storm(scene(partitions=PARTITIONS), PROCESSES, EVERY_S).run(SECONDS)
    assert report.joined >= PROCESSES - 1
    assert report.left + report.killed >= report.joined
    assert report.takeovers > 0, report.render()
