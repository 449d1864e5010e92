"""Where partitions of a version stop for a while, so that two versions stand at the same offsets.

A hold is placed with the offset rows locked and their epochs raised. So whoever claims later sees
it, and whoever claimed earlier is fenced: no checkpoint can pass a hold, and `progress.advance`
need not look for one. It is over when it is released, or by the database's clock.
All functions run in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kappa.tables import progress
from kappa.tables.cutover import hold
from kappa.tables.progress import Claimed, Partition

_UNEXPIRED = hold.c.expires_at > sa.func.clock_timestamp()


def until(conn: Connection, processor: str, version: int) -> dict[Partition, int]:
    """The offsets, exclusive, at which a version's partitions are held now; empty if it is not."""
    rows = conn.execute(
        sa.select(hold.c.topic, hold.c.partition, hold.c.until_offset).where(
            hold.c.processor == processor, hold.c.version == version, _UNEXPIRED
        )
    )
    return {(row.topic, row.partition): row.until_offset for row in rows}


def respect(
    conn: Connection, processor: str, version: int, claimed: Mapping[Partition, Claimed]
) -> dict[Partition, Claimed]:
    """What was claimed just now, with the offsets up to which it may be read.

    A partition that the hold does not know, because it is new, stays where it is.
    """
    held = until(conn, processor, version)
    if not held:
        return dict(claimed)
    return {
        place: replace(one, held_until=held.get(place, one.next_offset))
        for place, one in claimed.items()
    }


def stands(
    conn: Connection, processor: str, version: int, partitions: frozenset[Partition]
) -> bool:
    """Whether the version is held, and these partitions have come to where it is."""
    held = until(conn, processor, version)
    if not held:
        return False
    at = {(row.topic, row.partition): row for row in progress.read(conn, processor, version)}
    return all(place in at and at[place].next_offset >= held.get(place, 0) for place in partitions)


def expiry(conn: Connection, processor: str, version: int | None = None) -> datetime | None:
    """When the hold of a processor's versions, or of this one, expires; None if there is none."""
    last = sa.select(sa.func.max(hold.c.expires_at)).where(
        hold.c.processor == processor, _UNEXPIRED
    )
    if version is not None:
        last = last.where(hold.c.version == version)
    found: datetime | None = conn.scalar(last)
    return found


def place(
    conn: Connection,
    processor: str,
    offsets: Mapping[int, Mapping[Partition, int]],
    held_by: UUID,
    seconds: float,
) -> None:
    """Holds versions at these offsets for so long, in place of holds that have expired.

    The caller has locked the versions' offset rows and raises their epochs.
    """
    conn.execute(sa.delete(hold).where(hold.c.processor == processor, ~_UNEXPIRED))
    rows = [
        {
            "processor": processor,
            "version": version,
            "topic": topic,
            "partition": partition,
            "until_offset": offset,
            "held_by": held_by,
            "expires_at": _after(seconds),
        }
        for version, at in sorted(offsets.items())
        for (topic, partition), offset in sorted(at.items())
    ]
    if rows:
        conn.execute(sa.insert(hold).values(rows))


def renew(conn: Connection, held_by: UUID, seconds: float) -> bool:
    """Lets a hold go on for so long from now; False where it has expired already."""
    renewed = (
        sa.update(hold)
        .where(hold.c.held_by == held_by, _UNEXPIRED)
        .values(expires_at=_after(seconds))
    )
    return conn.execute(renewed).rowcount > 0


def release(conn: Connection, held_by: UUID) -> None:
    """Ends a hold; does nothing where it is over."""
    conn.execute(sa.delete(hold).where(hold.c.held_by == held_by))


def _after(seconds: float) -> sa.ColumnElement[datetime]:
    return sa.func.clock_timestamp() + sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)
