"""A version in service that takes no more input, so that its successor has a fixed target."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kappa.errors import Fenced, IllegalTransition
from kappa.failpoints import reach
from kappa.tables.bookkeeping import version as versions
from kappa.tables.engine import set_lock_timeout
from kappa.versions import records
from kappa.versions.deployment import Move
from kappa.versions.lifecycle import State
from kappa.versions.records import is_version
from kappa.versions.standing import raise_epochs
from kappa.versions.swap import lock_processor

_LOCK_TIMEOUT_MS = 2_000
"""Workers hold the rows of a checkpoint for less; readers are not concerned."""


@dataclass(frozen=True, slots=True)
class Drain:
    """A version that was told to take no more input, and until when."""

    processor: str
    version: int
    until: datetime


def begin(
    engine: Engine, moves: Iterable[Move], seconds: float, *, by: str, deployment_id: UUID
) -> tuple[Drain, ...]:
    """The versions in service take no more input, for so long at most: all of them, or none.

    Their epochs are raised: a checkpoint under way is fenced, and their offsets stay as they are.
    One that drains already, since a promote that was cut short, goes on for so long from now. A
    processor that somebody else has moved to the new version meanwhile is left alone.

    Raises:
        IllegalTransition: another version serves by now.
        LockTimeout: somebody holds their rows.
    """
    with engine.begin() as conn:
        set_lock_timeout(conn, _LOCK_TIMEOUT_MS)
        drained = [
            _begin(conn, move.processor, move.from_version, by, deployment_id)
            for move in moves
            if move.from_version is not None
            and lock_processor(conn, move.processor) != move.to_version
        ]
        # From when all locks are held: waiting for them is none of the time.
        until = conn.scalar(sa.select(_after(seconds)))
        assert until is not None
        for processor, version in drained:
            stored = sa.update(versions).where(is_version(processor, version))
            conn.execute(stored.values(drains_until=until))
    reach("drained")
    return tuple(Drain(processor, version, until) for processor, version in drained)


def _begin(
    conn: Connection, processor: str, version: int, by: str, deployment_id: UUID
) -> tuple[str, int]:
    if lock_processor(conn, processor) != version:
        raise IllegalTransition(
            f"{processor} version {version} does not serve any longer",
            hint="look at it, then promote again",
        )
    raise_epochs(conn, processor, [version])
    if records.hold(conn, processor, version) is not State.DRAINING:
        records.transition(
            conn, processor, version, State.DRAINING, by=by, deployment_id=deployment_id
        )
    return processor, version


def _after(seconds: float) -> sa.ColumnElement[datetime]:
    return sa.func.clock_timestamp() + sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def end(engine: Engine, drain: Drain, *, by: str, reason: str) -> bool:
    """The version takes input again, unless it was superseded or another drain has begun."""
    with engine.begin() as conn:
        return _end(conn, drain, by, reason)


def expire(conn: Connection, processor: str, version: int, *, by: str) -> bool:
    """Ends a drain whose time is over, by the database's clock; whoever notices may do it."""
    over = sa.select(versions.c.drains_until).where(
        is_version(processor, version),
        versions.c.state == State.DRAINING.value,
        versions.c.drains_until <= sa.func.clock_timestamp(),
    )
    until = conn.scalar(over)
    if until is None:
        return False
    return _end(conn, Drain(processor, version, until), by, "its time is over")


def require_input(conn: Connection, processor: str, version: int) -> None:
    """Passes if the version may be read for, now.

    Raises:
        Fenced: it is draining, or retired.
    """
    if require_kept(conn, processor, version) is State.DRAINING:
        raise Fenced(
            f"{processor} version {version} takes no input while a promote is under way",
            hint="it goes on, as a version that stands by or serves, when that is over",
        )


def require_kept(conn: Connection, processor: str, version: int) -> State:
    """The version's state, unless somebody has given it up.

    Raises:
        Fenced: it is retired.
    """
    state = records.require(conn, processor, version).state
    if state is State.RETIRED:
        raise Fenced(
            f"{processor} version {version} is retired",
            hint="numbers are never used again: declare a new version",
        )
    return state


def _end(conn: Connection, drain: Drain, by: str, reason: str) -> bool:
    """The processor is locked first, as in a promote, which may be about to supersede it."""
    lock_processor(conn, drain.processor)
    mine = sa.select(versions.c.version).where(
        is_version(drain.processor, drain.version),
        versions.c.state == State.DRAINING.value,
        versions.c.drains_until == drain.until,
    )
    if conn.scalar(mine.with_for_update()) is None:
        return False
    records.transition(
        conn, drain.processor, drain.version, State.SERVING, by=by, detail={"reason": reason}
    )
    return True
