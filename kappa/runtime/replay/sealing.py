"""The digest of what a build has left, worked out once its version is ready.

Read in one snapshot together with the offsets: a version that has read on since has none, because
its rows are no longer those of the manifest (docs/decisions/0010-a-digest-after-the-build.md).
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Engine

from kappa.tables import contents, progress
from kappa.tables.progress import PartitionProgress
from kappa.versions import manifest, records
from kappa.versions.lifecycle import State
from kappa.versions.records import VersionRecord


def seal(engine: Engine, processor: str, version: int) -> str | None:
    """Adds the digest to the version's manifest, unless it has one or has read on; returns it.

    Raises:
        KappaError: the table is gone, or the database; nothing has changed.
    """
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        record = records.require(connection, processor, version)
        if record.manifest is None or record.state is State.RETIRED:
            return None
        if record.manifest.get("digest") is not None:
            return None
        if not stands_as_built(record, progress.read(connection, processor, version)):
            return None
        digest = contents.rows_digest(connection, record.layout)
    with engine.begin() as connection:
        manifest.add_digest(connection, processor, version, digest)
    return digest


def stands_as_built(record: VersionRecord, positions: Iterable[PartitionProgress]) -> bool:
    """Whether the version has read no further than its build did."""
    if record.manifest is None:
        return False
    built = {(at["topic"], at["partition"]): at["to"] for at in record.manifest["offsets"]}
    return built == {(row.topic, row.partition): row.next_offset for row in positions}
