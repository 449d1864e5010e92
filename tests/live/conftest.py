"""The site of the integration tests, for tests that run ``kappa run`` at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import Site
from tests.integration.conftest import engine, site
from tests.live.scenes import Scene
from tests.readings import TOTALS

__all__ = ["engine", "site"]


@pytest.fixture
def scene(site: Site, tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    """Opens scenes at the site; what still runs in them is killed afterwards."""
    opened: list[Scene] = []

    def open_scene(code: str = TOTALS, *, partitions: int = 3, **options: str) -> Scene:
        opened.append(Scene(site, tmp_path, code, partitions, options))
        return opened[-1]

    yield open_scene
    for one in opened:
        one.close()
