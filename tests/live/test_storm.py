"""Processes that join and leave, one upon the other, while records come in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tests.live.invariants import check
from tests.live.running import Run
from tests.live.scenes import Scene

ROUNDS = 8
PARTITIONS = 8
MOST = 3
"""Processes besides the one that stays."""


def test_processes_join_and_leave_one_upon_the_other(scene: Callable[..., Scene]) -> None:
    """Nobody waits for a rebalance to end before the next begins; each third ends by SIGKILL."""
    here = scene(partitions=PARTITIONS)
    steady = here.run()
    here.publish(160)
    here.catch_up()
    passing: deque[Run] = deque()
    for number in range(ROUNDS):
        held = here.site.positions(here.name)
        passing.append(here.run())
        here.publish(160)
        if len(passing) > MOST:
            leave(passing.popleft(), killed=number % 3 == 0)
        here.publish(160)
        here.moved(held)
    for run in passing:
        leave(run, killed=False)
    here.publish(160)
    check(here)
    assert here.history.takeovers > MOST
    assert steady.running


def leave(run: Run, *, killed: bool) -> None:
    """It ends in the middle of what it does, or in good order."""
    run.started()
    if killed:
        run.kill()
    else:
        assert run.stop() == 0
