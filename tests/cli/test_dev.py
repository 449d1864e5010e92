"""``kappa dev`` at the keyboard and in scripts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from kappa.cli.dev import app


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state directory of a project without a stack."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".kappa"


def dev(*args: str) -> Result:
    return CliRunner().invoke(app, args)


def process(*args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kappa", "dev", *args],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("command", ["up", "down", "status", "reset", "logs"])
def test_help_has_an_example(command: str) -> None:
    shown = dev(command, "--help")
    assert shown.exit_code == 0
    assert f"kappa dev {command}" in shown.stdout.partition("Example")[2]


def test_status_without_a_stack(directory: Path) -> None:
    shown = dev("status", "--json")
    assert shown.exit_code == 0
    status = json.loads(shown.stdout)
    assert [server["name"] for server in status["servers"]] == ["kafka", "postgres"]
    assert not any(server["running"] for server in status["servers"])
    assert status["directory"] == str(directory)
    assert "'kappa dev up'" in dev("status").stdout


def test_down_without_a_stack(directory: Path) -> None:
    assert dev("down").stdout == "Nothing was running.\n"
    assert json.loads(dev("down", "--json").stdout) == {"stopped": []}
    assert not directory.exists()


def test_logs_without_a_stack() -> None:
    done = process("logs", "--json")
    assert done.returncode == 1
    assert json.loads(done.stderr)["error"] == "DevError"


@pytest.fixture
def past(directory: Path) -> Path:
    """What a stack that was stopped leaves behind."""
    for server in ("kafka", "postgres"):
        home = directory / server
        (home / "data").mkdir(parents=True)
        (home / "data" / "file").write_text("x" * 100_000)
        (home / "server.log").write_text(f"[{server}] first\n[{server}] last\n")
    return directory


@pytest.mark.usefixtures("past")
def test_logs_of_both_and_of_one() -> None:
    both = dev("logs", "--lines", "1").stdout
    assert both == "kafka    | [kafka] last\npostgres | [postgres] last\n"
    assert dev("logs", "postgres").stdout == "[postgres] first\n[postgres] last\n"
    line = dev("logs", "kafka", "-n", "1", "--json").stdout
    assert json.loads(line) == {"server": "kafka", "text": "[kafka] last"}


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_reset_deletes_nothing_unless_confirmed(past: Path, answer: str) -> None:
    done = process("reset", "--json", stdin=answer)
    assert done.returncode == 1
    assert done.stdout == ""
    assert (past / "kafka" / "data" / "file").exists()


@pytest.mark.parametrize(("args", "answer"), [(["--yes"], ""), ([], "y\n")])
def test_reset_deletes_when_confirmed(past: Path, args: list[str], answer: str) -> None:
    done = process("reset", *args, stdin=answer)
    assert done.returncode == 0
    assert done.stdout == f"Deleted 0.2 MB in {past}.\n"
    assert not (past / "kafka").exists()
    assert not (past / "postgres").exists()
