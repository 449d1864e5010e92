"""What became of every version, step by step. All functions run in the caller's transaction."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import aggregate_order_by

from kappa.tables.bookkeeping import offset
from kappa.tables.cutover import transition
from kappa.versions.lifecycle import State


@dataclass(frozen=True, slots=True)
class Step:
    """A version's step from one state to the next.

    Attributes:
        from_state: None where the version was made.
        who: the person or process, ``user@host``.
        deployment_id: the promote or rollback it was part of, if any.
        detail: why, where there is something to say: an error, a reason.
        offsets: where the version stood: topic, topic_id, partition, ``from`` and ``to``.
    """

    version: int
    from_state: State | None
    to_state: State
    who: str
    at: datetime
    deployment_id: UUID | None
    detail: dict[str, Any]
    offsets: tuple[dict[str, Any], ...]


def who() -> str:
    """Who does what this process does: ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def record(
    conn: Connection,
    processor: str,
    version: int,
    before: State | None,
    after: State,
    *,
    by: str,
    deployment_id: UUID | None = None,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Adds a step, with the version's offsets as this transaction sees them."""
    place = sa.func.jsonb_build_object(
        *("topic", offset.c.topic, "topic_id", offset.c.topic_id),
        *("partition", offset.c.partition),
        *("from", offset.c.start_offset, "to", offset.c.next_offset),
    )
    in_order = aggregate_order_by(place, offset.c.topic, offset.c.partition)
    offsets = (
        sa.select(sa.func.coalesce(sa.func.jsonb_agg(in_order), sa.text("'[]'::jsonb")))
        .where(offset.c.processor == processor, offset.c.version == version)
        .scalar_subquery()
    )
    conn.execute(
        sa.insert(transition).values(
            processor=processor,
            version=version,
            from_state=before.value if before else None,
            to_state=after.value,
            who=by,
            deployment_id=deployment_id,
            detail=dict(detail or {}),
            offsets=offsets,
        )
    )


def read(conn: Connection, processor: str, version: int | None = None) -> tuple[Step, ...]:
    """The steps of a processor's versions, or of one, the oldest first."""
    query = sa.select(transition).where(transition.c.processor == processor)
    if version is not None:
        query = query.where(transition.c.version == version)
    return tuple(
        Step(
            version=row.version,
            from_state=State(row.from_state) if row.from_state else None,
            to_state=State(row.to_state),
            who=row.who,
            at=row.at,
            deployment_id=row.deployment_id,
            detail=row.detail,
            offsets=tuple(row.offsets),
        )
        for row in conn.execute(query.order_by(transition.c.id))
    )
