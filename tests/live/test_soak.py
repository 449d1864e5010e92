"""The soak, for three quarters of a minute; ``make soak`` is for longer."""

from __future__ import annotations

from pathlib import Path

from tests.live.soak import Soak, soak_site

SECONDS = 45
PER_SECOND = 20_000


def test_nothing_breaks_under_load(tmp_path: Path) -> None:
    with soak_site(tmp_path) as site:
        report = Soak(site, tmp_path, PER_SECOND).run(SECONDS)
    assert report.breaks == [], report.render()
    assert report.records > 0
    assert report.done.total() > 0
    assert report.caught_up_s is not None
