"""The bar is for people who wait: not in a pipe, not for what is over at once."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from kappa.cli import progress
from kappa.cli.progress import ProgressBar


def shown(*, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120)
    with ProgressBar("replaying", "offsets", console=console) as bar:
        bar.update(1500, 3000)
        bar.update(3000, 3000)
    return out.getvalue()


def test_it_shows_what_how_far_and_how_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET_S", 0)
    text = shown(terminal=True)
    assert "replaying" in text
    assert "100%" in text
    assert "3,000 offsets" in text


def test_it_counts_something_else_than_it_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET_S", 0)
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    with ProgressBar("checking", console=console) as bar:
        bar.update(50, 100, count=7)
        bar.phase("publishing")
        bar.update(25, 100, count=3)
    text = out.getvalue()
    assert text.index("50%") < text.index("publishing")
    assert "7 records" in text
    assert "25%" in text
    assert "3 records" in text


def test_it_stays_out_of_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET_S", 0)
    assert shown(terminal=False) == ""


def test_it_stays_away_from_what_is_over_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET_S", 3600)
    assert shown(terminal=True) == ""
