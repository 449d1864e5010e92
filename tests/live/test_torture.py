"""The torture, for six swaps; ``make torture`` is for two hundred."""

from __future__ import annotations

from pathlib import Path

from tests.live.soak import soak_site
from tests.live.torture import Torture

SWAPS = 6
READS = 25
"""By each reader, for each swap: a promote takes a second to start alone."""


def test_readers_see_neither_error_nor_gap_nor_the_past(tmp_path: Path) -> None:
    with soak_site(tmp_path) as site:
        report = Torture(site, tmp_path).run(SWAPS)
    assert report.breaks == [], report.render()
    assert report.swaps == SWAPS
    assert report.records > 0
    assert report.readers["fewest"] >= READS * SWAPS, report.render()
    assert report.killed.total() > 0
