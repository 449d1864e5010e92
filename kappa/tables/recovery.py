"""Finding out, and freeing, what a lost session left behind."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from kappa.tables.bookkeeping import offset
from kappa.tables.progress import Advance, Partition, fenced, lock, these


def settle(conn: Connection, processor: str, version: int, advances: Sequence[Advance]) -> bool:
    """Whether a checkpoint whose COMMIT got no answer was applied.

    Locks the rows, because a plain read can miss a commit that is still running.

    Raises:
        Fenced: somebody else has claimed a partition or moved it since.
    """
    partitions = [(step.topic, step.partition) for step in advances]
    found = lock(conn, processor, version, partitions)
    here = {key: (row.epoch, row.next_offset) for key, row in found.items()}
    if all(here[s.topic, s.partition] == (s.epoch, s.new_offset) for s in advances):
        return True
    left = [s for s in advances if here[s.topic, s.partition] != (s.epoch, s.old_offset)]
    if left:
        raise fenced(left, found.values())
    return False


def terminate_owners(
    conn: Connection, processor: str, version: int, partitions: Collection[Partition]
) -> tuple[int, ...]:
    """Ends the database sessions that claimed the partitions last; returns their pids.

    For a claim that waits too long: a paused worker would hold its row locks for ever. A
    session begun after the row was last written is another one with a pid used again.
    """
    activity = sa.table(
        "pg_stat_activity", sa.column("pid"), sa.column("backend_start"), sa.column("datname")
    )
    found = (
        sa.select(activity.c.pid)
        .join(offset, offset.c.backend_pid == activity.c.pid)
        .where(these(processor, version, partitions))
        .where(offset.c.updated_at >= activity.c.backend_start)
        .where(activity.c.pid != sa.func.pg_backend_pid())
        .where(activity.c.datname == sa.func.current_database())
        .distinct()
    )
    # One by one: inside the query the function could be called before the other conditions.
    pids = tuple(int(pid) for pid in conn.scalars(found))
    for pid in pids:
        conn.execute(sa.select(sa.func.pg_terminate_backend(pid)))
    return pids
