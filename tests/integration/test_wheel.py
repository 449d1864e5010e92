"""The wheel works where there is no checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(target), str(ROOT))
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of a fresh environment with the wheel; its dependencies come from this one.

    A path line adds the dependencies without running the editable install's own path file, so
    the checkout is not importable there.
    """
    home = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    (site,) = home.glob("lib/python3*/site-packages")
    _pip("--python", str(home / "bin/python"), "install", "--no-deps", "--no-index", str(wheel))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def test_its_only_top_level_name_is_kappa(wheel: Path) -> None:
    names = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"kappa"}


def test_migrations_are_inside(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        f"kappa/migrations/{path.relative_to(ROOT / 'migrations').as_posix()}"
        for path in (ROOT / "migrations").rglob("*.py")
    }
    assert ours
    assert ours <= inside


def test_the_command_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    done = _run([str(installed / "kappa"), "--help"], tmp_path)
    assert "replay" in done.stdout


def test_kappa_comes_from_the_wheel_and_needs_no_checkout(installed: Path, tmp_path: Path) -> None:
    probe = "import kappa; print(kappa.__file__)"
    done = _run([str(installed / "python"), "-c", probe], tmp_path)
    assert Path(done.stdout.strip()).is_relative_to(installed.parent)


def _run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True)


def _pip(*args: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *args], check=True
    )
