"""What a build read and made, stored with its version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from kappa.tables import bookkeeping
from kappa.tables.progress import PartitionProgress
from kappa.versions import records
from kappa.versions.lifecycle import State
from kappa.versions.records import is_version

_version = bookkeeping.version


@dataclass(frozen=True, slots=True)
class Run:
    """The run that ended a build. Others may have come before it and were cut short.

    Attributes:
        records: read meanwhile, by all processes that shared the build.
        seconds: how long that took.
        workers: processes that read; zero where nothing was left to read.
        batch_size: records between two checkpoints, at most.
    """

    records: int
    seconds: float
    workers: int
    batch_size: int


def make_ready(
    conn: Connection,
    processor: str,
    version: int,
    *,
    rows: int,
    run: Run,
    partitions: Sequence[PartitionProgress],
) -> None:
    """Ends a build: the version becomes ready and its manifest is stored, without a digest yet.

    Raises:
        UnknownVersion, IllegalTransition: as `transition`.
    """
    records.transition(conn, processor, version, State.READY)
    manifest = {
        "rows": rows,
        "last_run": asdict(run) | {"seconds": round(run.seconds, 3)},
        "digest": None,
        "schema_ids": sorted({number for part in partitions for number in part.schema_ids}),
        "records": sum(part.records for part in partitions),
        "late": sum(part.late for part in partitions),
        "dead": sum(part.dead for part in partitions),
        "filtered": sum(part.filtered for part in partitions),
        "offsets": [
            {
                "topic": part.topic,
                "topic_id": part.topic_id,
                "partition": part.partition,
                "from": part.start_offset,
                "to": part.next_offset,
            }
            for part in partitions
        ],
    }
    done = {"manifest": manifest, "ready_at": sa.func.now()}
    conn.execute(sa.update(_version).where(is_version(processor, version)).values(done))


def add_digest(conn: Connection, processor: str, version: int, digest: str) -> None:
    """Completes a manifest by the digest of the rows its build has left."""
    path, value = sa.text("'{digest}'"), sa.func.to_jsonb(sa.cast(digest, sa.Text()))
    completed = sa.func.jsonb_set(_version.c.manifest, path, value)
    conn.execute(
        sa.update(_version).where(is_version(processor, version)).values(manifest=completed)
    )
