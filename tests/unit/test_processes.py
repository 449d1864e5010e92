"""Processes with a parent: one that does not listen, and signals that come to both."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from kappa.runtime.live.pulse import Pulse
from kappa.runtime.processes import Child, Desk, Ended
from kappa.runtime.relay.sending import Relayed
from kappa.runtime.worker.job import Report
from tests.faults import wait_until

COUNT = 20_000


def work(done: Path, desk: Desk) -> None:
    """Tells more than a pipe holds."""
    for number in range(1, COUNT + 1):
        desk.send(Report(records=1, commit_s=0.5))
        desk.send(Pulse("following", fetch_s=number))
        desk.send(Relayed("p", "main", sent=2, set_aside=1))
    desk.flush(0.0)
    done.touch()


def rest(done: Path, desk: Desk) -> None:
    """Does nothing until it is told to stop."""
    desk.send("at rest")
    desk.stopping.wait()
    done.touch()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_everybody_gets_is_left_to_the_parent(tmp_path: Path, number: int) -> None:
    done = tmp_path / "done"
    child = Child(rest, done)
    try:
        assert child.receive() == "at rest"
        os.kill(child.pid, number)
        child.stop()
        assert child.receive() == Ended()
    finally:
        child.end()
    assert done.exists()


def test_a_parent_that_does_not_listen_holds_nobody_up(tmp_path: Path) -> None:
    """The process goes on, and the parent hears of all it did."""
    done = tmp_path / "done"
    child = Child(work, done)
    wait_until("all is done", done.exists)
    heard: list[object] = []
    while not isinstance(message := child.receive(), Ended):
        heard.append(message)
    child.end()
    assert message.error is None
    assert len(heard) < COUNT
    reports = [one for one in heard if isinstance(one, Report)]
    assert sum(reports, Report()) == Report(records=COUNT, commit_s=COUNT / 2)
    relayed = [one for one in heard if isinstance(one, Relayed)]
    assert sum(one.sent for one in relayed) == 2 * COUNT
    assert sum(one.set_aside for one in relayed) == COUNT
    pulses = [one.fetch_s for one in heard if isinstance(one, Pulse)]
    assert pulses == sorted(pulses)
    assert pulses[-1] == COUNT
