"""Commands a long step runs: their output, their failures, and their end on an interrupt."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Event, Thread

import pytest

from kappa.dev.task import Cancelled, Task
from kappa.errors import DevError


@pytest.fixture
def task() -> Task:
    return Task(report=lambda message: None, cancelled=Event())


def test_what_a_command_printed_is_returned(task: Task) -> None:
    code = "import sys; print(input().upper()); print('and this', file=sys.stderr)"
    assert task.run([sys.executable, "-c", code], stdin="hello\n") == "HELLO\nand this"


def test_a_failed_command_is_named_with_the_line_that_complains(task: Task) -> None:
    code = "print('preparing'); print('ERROR: no room'); print('read the manual'); exit(3)"
    with pytest.raises(DevError) as caught:
        task.run([sys.executable, "-c", code])
    assert caught.value.detail == {"status": 3, "output": "ERROR: no room"}


def test_a_missing_command_is_named(task: Task, tmp_path: Path) -> None:
    with pytest.raises(DevError, match="gone"):
        task.run([str(tmp_path / "gone")])


def test_an_interrupt_ends_the_command(task: Task, tmp_path: Path) -> None:
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    code = (
        "import pathlib, signal, sys, time\n"
        f"signal.signal(15, lambda *_: (pathlib.Path({str(ended)!r}).touch(), sys.exit(1)))\n"
        f"pathlib.Path({str(begun)!r}).touch()\n"
        "time.sleep(600)"
    )

    def interrupt() -> None:
        while not begun.exists():
            pass
        task.cancelled.set()

    thread = Thread(target=interrupt)
    thread.start()
    with pytest.raises(Cancelled):
        task.run([sys.executable, "-c", code])
    thread.join()
    assert ended.exists()
