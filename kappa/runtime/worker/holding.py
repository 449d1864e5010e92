"""What a hold means to a worker: where its partitions end for now, and when that is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from sqlalchemy import Engine

from kappa.errors import DatabaseUnavailable
from kappa.tables import holds
from kappa.tables.layout import Layout
from kappa.tables.progress import Claimed, Partition

LOOK_S = 0.2
"""How often somebody who is held looks whether he still is."""


def stands(engine: Engine, layout: Layout, partitions: Collection[Partition]) -> bool:
    """Whether these partitions have come to where their version is held now."""
    with engine.connect() as connection:
        return holds.stands(connection, layout.processor, layout.version, frozenset(partitions))


def end_of(claimed: Claimed, target: int | None) -> int | None:
    """Where a partition is to be read to: to its target, or to where it is held before that."""
    known = [end for end in (target, claimed.held_until) if end is not None]
    return min(known, default=None)


def released(
    engine: Engine, layout: Layout, claimed: Mapping[Partition, Claimed]
) -> Callable[[], bool]:
    """Whether the hold under which this was claimed is over; False for what is not held."""
    if all(one.held_until is None for one in claimed.values()):
        return lambda: False
    looked = time.monotonic()

    def over() -> bool:
        nonlocal looked
        if time.monotonic() - looked < LOOK_S:
            return False
        looked = time.monotonic()
        with suppress(DatabaseUnavailable), engine.connect() as connection:
            return not holds.until(connection, layout.processor, layout.version)
        return False

    return over
