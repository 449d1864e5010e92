"""The transaction that moves views: everything in it is read and written under its locks.

Locks are taken in one order by everybody: processors by name, then offset rows by processor,
version, topic and partition, then versions, last the views, from which on readers wait.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kappa.errors import (
    IllegalTransition,
    LockTimeout,
    OffsetsBusy,
    UnknownVersion,
)
from kappa.failpoints import reach
from kappa.tables import bookkeeping, handover, views
from kappa.tables.engine import set_lock_timeout
from kappa.tables.layout import Layout
from kappa.versions import records
from kappa.versions.deployment import Deployment, Move, Moved
from kappa.versions.lifecycle import State
from kappa.versions.outputs_begun import ahead, check_begun
from kappa.versions.outputs_waiting import check_left
from kappa.versions.standing import Standing, raise_epochs, standing

_processor = bookkeeping.processor
_served, _history = bookkeeping.served, bookkeeping.history


def run(conn: Connection, deployment: Deployment, *, backwards: bool = False) -> tuple[Moved, ...]:
    """The swap itself. What serves already, because somebody else came first, stays as it is.

    ``backwards`` takes the locks of the views the other way round, see `views.move_views`.

    Raises:
        IllegalTransition: another version was promoted meanwhile.
        NotCaughtUp, TopicRecreated: readers' time would go back.
        OutputsBehind: something that is to be sent would be left out.
        NameTaken, ViewIncompatible: a view cannot be moved.
        OffsetsBusy, LockTimeout, Deadlock: a worker, or a reader, holds a lock; nothing has
            changed.
    """
    set_lock_timeout(conn, deployment.lock_timeout_ms)
    moves = [
        move for move in deployment.moves if not is_done(move, lock_processor(conn, move.processor))
    ]
    try:
        standings = [standing(conn, move, lock=True) for move in moves]
    except LockTimeout as error:
        raise OffsetsBusy(
            "workers' checkpoints hold the offset rows",
            hint="they take longer than the promote waits: it lets the old version drain",
        ) from error
    reach("promote_locked")
    layouts = [_layouts(conn, move) for move in moves]
    for stand, (layout, serving) in zip(standings, layouts, strict=True):
        stand.check(deployment.options.dropped_sources)
        check_begun(conn, stand.move, stand.blue, serving, layout)
        check_left(conn, stand.move, serving, layout, stand.recreated())
    for stand, (layout, serving) in zip(standings, layouts, strict=True):
        _change(conn, deployment, stand, layout, serving)
    reach("promote_written")
    # Last, because from here to the end of COMMIT readers wait.
    views.move_views(conn, layouts, recreate=deployment.options.recreate, backwards=backwards)
    reach("promote_moved")
    return deployment.moved({stand.move.processor: stand.green for stand in standings})


def is_done(move: Move, active: int | None) -> bool:
    """Whether somebody else has made the version serve, where ``active`` is the one that does.

    Raises:
        IllegalTransition: another one does than the move begins with.
    """
    if active == move.to_version:
        return True
    if active != move.from_version:
        raise IllegalTransition(
            f"{move.processor} version {active} was promoted meanwhile",
            expected=move.from_version,
            hint="look at it, then promote again",
        )
    return False


def lock_processor(conn: Connection, processor: str) -> int | None:
    """Locks the processor's row, which orders promotes; returns the active version.

    Raises:
        UnknownVersion: the processor is not recorded.
    """
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


def _layouts(conn: Connection, move: Move) -> tuple[Layout, Layout | None]:
    """That of the new version, and of the one in service if there is one."""
    serving = None
    if move.from_version is not None:
        serving = records.require(conn, move.processor, move.from_version).layout
    return records.require(conn, move.processor, move.to_version).layout, serving


def _change(
    conn: Connection,
    deployment: Deployment,
    stand: Standing,
    layout: Layout,
    serving: Layout | None,
) -> None:
    """All but the view: states, outputs and final windows, epochs, what is served, history."""
    move = stand.move
    if move.from_version is not None:
        _step(conn, deployment, move.processor, move.from_version, State.STANDBY)
    _step(conn, deployment, move.processor, move.to_version, State.SERVING)
    given_up = stand.given_up(deployment.options.dropped_sources)
    handover.hand_over(conn, serving, layout, stand.recreated(), is_new_source=bool(given_up))
    _activate(conn, move)
    _record(conn, deployment, stand)


def _step(
    conn: Connection, deployment: Deployment, processor: str, version: int, to: State
) -> None:
    records.transition(conn, processor, version, to, by=deployment.who, deployment_id=deployment.id)


def _activate(conn: Connection, move: Move) -> None:
    """The new active version, and new epochs."""
    conn.execute(
        sa.update(_processor)
        .where(_processor.c.name == move.processor)
        .values(active_version=move.to_version, epoch=_processor.c.epoch + 1)
    )
    old = [] if move.from_version is None else [move.from_version]
    raise_epochs(conn, move.processor, [*old, move.to_version])


def _record(conn: Connection, deployment: Deployment, stand: Standing) -> None:
    """What readers see from now on, and the row of the history."""
    move, green = stand.move, stand.green
    positions = [
        {
            "topic": at.topic,
            "topic_id": at.topic_id,
            "partition": at.partition,
            "next_offset": at.next_offset,
        }
        for at in green
    ]
    dropped = stand.given_up(deployment.options.dropped_sources)
    if dropped:
        conn.execute(
            sa.delete(_served).where(
                _served.c.processor == move.processor,
                _served.c.topic.in_(dropped),
                _served.c.topic_id.not_in({at.topic_id for at in green}),
            )
        )
    if positions:
        rows = [{"processor": move.processor, **position} for position in positions]
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
    detail: dict[str, object] = {"dropped_sources": sorted(dropped)} if dropped else {}
    if move.from_version is None or dropped:
        detail |= ahead(conn, move.processor, green)
    conn.execute(
        sa.insert(_history).values(
            deployment_id=deployment.id,
            processor=move.processor,
            action=deployment.action.value,
            from_version=move.from_version,
            to_version=move.to_version,
            who=deployment.who,
            offsets=positions,
            detail=detail,
        )
    )
