"""Server processes: found by their command line, ended for good, independent of who starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from kappa.dev import processes
from kappa.dev.processes import Launch

# Says "ready" and sleeps; the mark is an argument that nothing reads.
SLEEPER = "import time; print('ready', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"
FORKING = f"import os; os.fork(); {SLEEPER}"


@pytest.fixture
def mark() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def launch(tmp_path: Path, mark: str) -> Iterator[Callable[[str], psutil.Process]]:
    """Spawns a marked Python process and returns once it is ready."""
    log = tmp_path / "log"

    def spawn(code: str) -> psutil.Process:
        command = (sys.executable, "-c", code, mark)
        process = processes.spawn(Launch(command, tmp_path, os.environ), log)
        while "ready" not in log.read_text():
            assert processes.alive(process)
        return process

    yield spawn
    for process in psutil.process_iter(["cmdline"]):
        if mark in (process.info["cmdline"] or []):
            process.kill()


def test_a_process_is_found_by_its_command_line(
    launch: Callable[[str], psutil.Process], mark: str
) -> None:
    assert processes.find(lambda line: mark in line) is None
    process = launch(SLEEPER)
    assert processes.find(lambda line: mark in line) == process


def test_the_parent_is_found_not_its_fork(
    launch: Callable[[str], psutil.Process], mark: str
) -> None:
    process = launch(FORKING)
    assert processes.find(lambda line: mark in line) == process


def test_a_killed_process_is_not_found(launch: Callable[[str], psutil.Process], mark: str) -> None:
    process = launch(SLEEPER)
    process.kill()
    process.wait(10)
    assert not processes.alive(process)
    assert processes.find(lambda line: mark in line) is None


def test_a_zombie_does_not_count_as_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    process = psutil.Process(child.pid)
    while process.status() != psutil.STATUS_ZOMBIE:
        pass
    assert not processes.alive(process)
    child.wait()


def test_stopping_ends_children_too(
    launch: Callable[[str], psutil.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_KILL_GRACE_S", 0.5)
    process = launch(FORKING)
    children = process.children()
    processes.stop(process, signal.SIGKILL, grace_s=10)
    assert len(children) == 1
    assert not any(processes.alive(each) for each in [process, *children])


def test_who_ignores_the_signal_is_killed(launch: Callable[[str], psutil.Process]) -> None:
    process = launch(STUBBORN)
    processes.stop(process, signal.SIGTERM, grace_s=0.2)
    assert not processes.alive(process)


def test_a_paused_process_is_stopped_politely(launch: Callable[[str], psutil.Process]) -> None:
    process = launch("import signal,sys; signal.signal(15, lambda *_: sys.exit(7)); " + SLEEPER)
    process.suspend()
    processes.stop(process, signal.SIGTERM, grace_s=30)
    assert not processes.alive(process)


def test_stopping_what_has_ended_is_fine(launch: Callable[[str], psutil.Process]) -> None:
    process = launch(SLEEPER)
    process.kill()
    process.wait(10)
    processes.stop(process, signal.SIGTERM, grace_s=10)


def test_a_server_outlives_who_started_it_and_holds_none_of_its_pipes(
    tmp_path: Path, mark: str
) -> None:
    starter = (
        "import os, sys, pathlib; from kappa.dev.processes import Launch, spawn; "
        f"spawn(Launch((sys.executable, '-c', {SLEEPER!r}, {mark!r}), pathlib.Path('.'), "
        "os.environ), pathlib.Path('log'))"
    )
    # Without the end of both pipes this would wait for as long as the server runs.
    subprocess.run(
        [sys.executable, "-c", starter],
        cwd=tmp_path,
        capture_output=True,
        check=True,
        timeout=60,
    )
    process = processes.find(lambda line: mark in line)
    assert process is not None
    assert os.getsid(process.pid) == process.pid
    processes.stop(process, signal.SIGTERM, grace_s=10)


def test_a_long_log_is_begun_anew(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_bytes(b"x" * (11 * 1024 * 1024))
    process = processes.spawn(Launch((sys.executable, "-c", "pass"), tmp_path, {}), log)
    process.wait(30)
    assert log.stat().st_size == 0
    assert (tmp_path / "server.1.log").stat().st_size == 11 * 1024 * 1024
