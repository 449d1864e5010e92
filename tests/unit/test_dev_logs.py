"""The end of a log, and following one that grows or is begun anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from kappa.dev import logs
from kappa.dev.logs import LogLine


@pytest.mark.parametrize("lines", [0, 1, 3, 100])
def test_the_last_lines(tmp_path: Path, lines: int) -> None:
    log = tmp_path / "log"
    every = [f"line {n}" for n in range(10)]
    log.write_text("".join(f"{line}\n" for line in every))
    assert logs.last(log, lines) == every[max(0, 10 - lines) :]


def test_the_last_lines_of_a_file_longer_than_a_block(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"{n:>1000}\n" for n in range(300)))
    assert logs.last(log, 200) == [f"{n:>1000}" for n in range(100, 300)]


def test_no_file_has_no_lines(tmp_path: Path) -> None:
    assert logs.last(tmp_path / "log", 10) == []


def test_following_begins_now_and_goes_on_in_a_new_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old\n")
    followed = logs.follow({"kafka": log})
    with log.open("a") as file:
        file.write("one\nhalf of")
    assert next(followed) == LogLine("kafka", "one")
    with log.open("a") as file:
        file.write(" two\n")
    assert next(followed) == LogLine("kafka", "half of two")
    log.rename(tmp_path / "log.1")
    log.write_text("three\n")
    assert next(followed) == LogLine("kafka", "three")


def test_following_waits_for_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    log = tmp_path / "log"
    followed = logs.follow({"kafka": log})
    log.write_text("first\n")
    assert next(followed) == LogLine("kafka", "first")
