"""The transaction that moves a view: everything in it is read and written under its locks."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kappa.errors import IllegalTransition, UnknownVersion
from kappa.tables import bookkeeping, handover, views
from kappa.tables.engine import set_lock_timeout
from kappa.versions import records
from kappa.versions.caught_up import Position, check_caught_up
from kappa.versions.lifecycle import State

_processor, _offset = bookkeeping.processor, bookkeeping.offset
_served, _history = bookkeeping.served, bookkeeping.history


@dataclass(frozen=True, slots=True)
class Swap:
    """One promote as it was asked for, over all its attempts."""

    processor: str
    version: int
    expected: int | None
    who: str
    deployment_id: UUID
    lock_timeout_ms: int


def run(conn: Connection, swap: Swap) -> tuple[Position, ...] | None:
    """The swap itself; None when somebody else has made this version serve."""
    set_lock_timeout(conn, swap.lock_timeout_ms)
    active = lock_processor(conn, swap.processor)
    if active == swap.version:
        return None
    if active != swap.expected:
        raise IllegalTransition(
            f"{swap.processor} version {active} was promoted meanwhile",
            expected=swap.expected,
            hint="look at it, then promote again",
        )
    blue, green = _lock_positions(conn, swap)
    check_caught_up(swap.processor, swap.version, blue, green, _read_served(conn, swap.processor))
    record = records.require(conn, swap.processor, swap.version)
    serving = None
    if active is not None:
        serving = records.require(conn, swap.processor, active).layout
        _step(conn, swap, active, State.STANDBY)
    _step(conn, swap, swap.version, State.SERVING)
    handover.hand_over(conn, serving, record.layout)
    _activate(conn, swap)
    _record(conn, swap, green)
    # Last, because from here to the end of COMMIT readers wait.
    views.move_view(conn, record.layout, serving)
    return green


def lock_processor(conn: Connection, processor: str) -> int | None:
    """Locks the processor's row, which orders promotes; returns the active version."""
    row = conn.execute(
        sa.select(_processor.c.active_version)
        .where(_processor.c.name == processor)
        .with_for_update()
    ).first()
    if row is None:
        raise UnknownVersion(
            f"processor {processor!r} is not recorded", hint=f"kappa replay {processor}"
        )
    active: int | None = row.active_version
    return active


def _lock_positions(
    conn: Connection, swap: Swap
) -> tuple[tuple[Position, ...], tuple[Position, ...]]:
    """Freezes both versions and returns where they stand, the active one first."""
    versions = [swap.version] if swap.expected is None else [swap.expected, swap.version]
    rows = conn.execute(
        sa.select(
            _offset.c.version,
            _offset.c.topic,
            _offset.c.partition,
            _offset.c.topic_id,
            _offset.c.next_offset,
        )
        .where(_offset.c.processor == swap.processor, _offset.c.version.in_(versions))
        .order_by(_offset.c.version, _offset.c.topic, _offset.c.partition)
        .with_for_update()
    ).all()
    positions = [(row.version, Position(*row[1:])) for row in rows]
    return (
        tuple(at for version, at in positions if version == swap.expected),
        tuple(at for version, at in positions if version == swap.version),
    )


def _read_served(conn: Connection, processor: str) -> tuple[Position, ...]:
    rows = conn.execute(
        sa.select(
            _served.c.topic, _served.c.partition, _served.c.topic_id, _served.c.next_offset
        ).where(_served.c.processor == processor)
    )
    return tuple(Position(*row) for row in rows)


def _step(conn: Connection, swap: Swap, version: int, to: State) -> None:
    records.transition(
        conn, swap.processor, version, to, by=swap.who, deployment_id=swap.deployment_id
    )


def _activate(conn: Connection, swap: Swap) -> None:
    """The new active version, and new epochs: whoever held a partition must claim it again."""
    conn.execute(
        sa.update(_processor)
        .where(_processor.c.name == swap.processor)
        .values(active_version=swap.version, epoch=_processor.c.epoch + 1)
    )
    versions = [swap.version, *([] if swap.expected is None else [swap.expected])]
    conn.execute(
        sa.update(_offset)
        .where(_offset.c.processor == swap.processor, _offset.c.version.in_(versions))
        .values(epoch=_offset.c.epoch + 1)
    )


def _record(conn: Connection, swap: Swap, green: tuple[Position, ...]) -> None:
    """What readers see from now on, and the row of the history."""
    positions = [
        {
            "topic": at.topic,
            "topic_id": at.topic_id,
            "partition": at.partition,
            "next_offset": at.next_offset,
        }
        for at in green
    ]
    if positions:
        rows = [{"processor": swap.processor, **position} for position in positions]
        upsert = insert(_served).values(rows)
        conn.execute(
            upsert.on_conflict_do_update(
                constraint=_served.primary_key,
                set_={
                    "topic": upsert.excluded.topic,
                    "next_offset": sa.func.greatest(
                        _served.c.next_offset, upsert.excluded.next_offset
                    ),
                },
            )
        )
    conn.execute(
        sa.insert(_history).values(
            deployment_id=swap.deployment_id,
            processor=swap.processor,
            action="promote",
            from_version=swap.expected,
            to_version=swap.version,
            who=swap.who,
            offsets=positions,
        )
    )
