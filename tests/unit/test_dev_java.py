"""Which Java is taken: JAVA_HOME before PATH before the bundled one, and never one too old."""

from __future__ import annotations

from pathlib import Path

import pytest

from kappa.dev import java
from kappa.errors import DevError


def fake_java(directory: Path, script: str) -> Path:
    """An executable that answers ``java -version`` in its own way."""
    directory.mkdir(parents=True)
    program = directory / "java"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def prints(version: str) -> str:
    return f"""echo 'openjdk version "{version}" 2025-04-15' >&2"""


@pytest.fixture
def empty(tmp_path: Path) -> str:
    (tmp_path / "empty").mkdir()
    return str(tmp_path / "empty")


@pytest.mark.parametrize(
    ("printed", "major"), [("17.0.15", 17), ("21", 21), ("26-ea", 26), ("25.0.2", 25)]
)
def test_versions_are_read(tmp_path: Path, printed: str, major: int) -> None:
    program = fake_java(tmp_path / "bin", prints(printed))
    assert java.find({"PATH": str(program.parent)}) == java.Java(program, major)


def test_java_home_comes_before_path(tmp_path: Path) -> None:
    at_home = fake_java(tmp_path / "home" / "bin", prints("21.0.1"))
    on_path = fake_java(tmp_path / "bin", prints("17.0.1"))
    found = java.find({"JAVA_HOME": str(tmp_path / "home"), "PATH": str(on_path.parent)})
    assert found.executable == at_home
    assert found.home == tmp_path / "home"


@pytest.mark.parametrize(
    "script",
    [prints("11.0.2"), prints("1.8.0_402"), "exit 1", "true"],
    ids=["eleven", "eight", "fails", "says nothing"],
)
def test_an_unsuitable_java_home_is_passed_over(tmp_path: Path, script: str) -> None:
    fake_java(tmp_path / "home" / "bin", script)
    on_path = fake_java(tmp_path / "bin", prints("17.0.1"))
    found = java.find({"JAVA_HOME": str(tmp_path / "home"), "PATH": str(on_path.parent)})
    assert found.executable == on_path


def test_without_java_home_and_path_the_bundled_one_is_taken(empty: str) -> None:
    found = java.find({"PATH": empty})
    assert java.BUNDLED in found.executable.parts
    assert found.major >= java.MINIMUM


def test_without_any_java_the_error_says_what_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(java, "BUNDLED", "no_such_package")
    old = fake_java(tmp_path / "bin", prints("11.0.2"))
    with pytest.raises(DevError) as caught:
        java.find({"JAVA_HOME": str(tmp_path / "gone"), "PATH": str(old.parent)})
    tried = str(caught.value.detail["tried"])
    assert "JAVA_HOME" in tried
    assert f"{old} is Java 11" in tried
    assert "KAPPA_KAFKA__BOOTSTRAP_SERVERS" in caught.value.hint
