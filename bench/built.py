"""Versions that were never replayed: tables with keys, ready to be promoted or compared."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, Engine

from kappa.tables import build, progress
from kappa.tables.layout import Layout
from kappa.tables.progress import NewPartition
from kappa.versions import manifest, records


def ready(
    engine: Engine, layout: Layout, *, offset: int = 0, fill: Callable[[Connection], object]
) -> None:
    """Makes a version that stands at this offset of one partition; ``fill`` writes its rows."""
    name, version = layout.processor, layout.version
    with engine.begin() as connection:
        records.create(
            connection, name, version, fingerprint="f", declared_in="bench:it", layout=layout
        )
        build.create(connection, layout)
        progress.register(connection, name, version, [NewPartition("t", 0, "id", offset)])
        fill(connection)
    with engine.begin() as connection:
        manifest.make_ready(
            connection,
            name,
            version,
            rows=build.finish(connection, layout),
            run=manifest.Run(records=0, seconds=1.0, workers=1, batch_size=1),
            partitions=progress.read(connection, name, version),
        )
