"""Six processes issue random commands for forty seconds; ``make torture`` is for longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.chaos import KINDS, Chaos
from tests.live.soak import soak_site

SECONDS = 40


@pytest.mark.timeout(600)
def test_one_version_serves_and_nothing_is_half_done(tmp_path: Path) -> None:
    with soak_site(tmp_path) as site:
        report = Chaos(site, tmp_path).run(SECONDS)
    assert report.breaks == [], report.render()
    for what in (*KINDS, "abort"):
        assert report.done[what] > 0, report.render()
    assert "UnknownProcessor" not in report.refused, report.render()
    assert report.looks > 0
    assert report.swaps > 0
