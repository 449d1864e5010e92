"""``kappa dev up`` as a process: two at once, and interrupts at several moments."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kappa.dev import stack
from tests.conftest import server_home

UP = [sys.executable, "-m", "kappa", "dev", "up", "--json"]


@pytest.fixture
def project() -> Iterator[Path]:
    """An empty directory whose servers are stopped in the end."""
    with server_home() as home:
        yield home.resolve()
        stack.reset(home.resolve() / ".kappa", lambda message: None)


def test_two_at_once_start_one_stack(project: Path) -> None:
    both = [
        subprocess.Popen(UP, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    results = []
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
        results.append(json.loads(out))
    assert sorted(len(result["started"]) for result in results) == [0, 2]
    assert results[0]["servers"][0]["pid"] == results[1]["servers"][0]["pid"]


def test_an_interrupt_leaves_nothing_running_and_the_next_up_works(project: Path) -> None:
    directory = project / ".kappa"
    for moment in ("formatting", "kafka: starting"):
        process = _up_until(moment, project)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 130
        assert out == ""
        assert not any(server.running for server in stack.status(directory))
        assert not (directory / "endpoints.json").exists()
    assert set(stack.up(directory, lambda message: None)) == {"kafka", "postgres"}


def _up_until(moment: str, project: Path) -> subprocess.Popen[str]:
    """A running ``kappa dev up`` that has just reported this."""
    process = subprocess.Popen(
        UP, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert any(moment in line for line in process.stderr)
    return process


@pytest.mark.parametrize("moment", ["making the data directory", "formatting", "kafka: starting"])
def test_a_server_survives_the_end_of_the_command_by_force(project: Path, moment: str) -> None:
    process = _up_until(moment, project)
    process.kill()
    process.communicate(timeout=60)
    # Whatever had been started is taken over as it is, and what lives on is in nobody's way.
    stack.up(project / ".kappa", lambda message: None)
    assert all(server.answers for server in stack.status(project / ".kappa"))


@pytest.mark.skipif(os.geteuid() != 0, reason="whoever is not root tests this all the time")
def test_postgres_runs_for_an_unprivileged_user_too(project: Path) -> None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    interpreter = shutil.which(version, path="/usr/local/bin:/usr/bin")
    if interpreter is None:
        pytest.skip(f"no {version} that another user may run")
    project.chmod(0o777)
    code = (
        "import pathlib, threading\n"
        "from kappa.dev import lifecycle\n"
        "from kappa.dev.postgres import Postgres\n"
        "from kappa.dev.task import Task\n"
        "postgres = Postgres(pathlib.Path('.kappa/postgres').resolve())\n"
        "assert lifecycle.start(postgres, Task(print, threading.Event()))\n"
        "print(lifecycle.describe(postgres))\n"
        "assert lifecycle.stop(postgres)\n"
    )
    done = subprocess.run(
        [interpreter, "-B", "-c", code],
        cwd=project,
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.defpath},
        user="nobody",
        group="nogroup",
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "answers=True" in done.stdout
    assert (project / ".kappa" / "postgres" / "data").owner() == "nobody"
