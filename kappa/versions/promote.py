"""Moving a processor's view to another version: one transaction, in which readers' time cannot
go back.

Both versions' offset rows are locked, so neither moves while they are compared. The view moves
only if the new version has read, in every partition, at least as far as the old one has and as
far as was ever served.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from kappa.errors import (
    DatabaseUnavailable,
    Deadlock,
    IllegalTransition,
    LockTimeout,
)
from kappa.tables import views
from kappa.tables.bookkeeping import history
from kappa.tables.engine import set_lock_timeout
from kappa.versions import records
from kappa.versions.caught_up import Position
from kappa.versions.lifecycle import State, check_transition
from kappa.versions.swap import Swap, lock_processor, run

LOCK_TIMEOUT_MS = 50
"""While we wait for the view's lock, new readers queue behind us: for no longer than this."""

DEADLINE_S = 10.0
"""How long a promote goes on trying while readers hold the view."""

_SETTLE_S = 45.0
"""How long to wait for a database that went away in a COMMIT: a session it has not noticed to be
dead holds its locks until the server ends it as idle in a transaction, after 30 seconds."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """What a promote did.

    Attributes:
        from_version: the version that served before; None for a first promote.
        changed: False when the version was serving already.
        deployment_id: names the row of the history; None when nothing changed.
        attempts: transactions begun, the last one included.
        offsets: the new version's positions at the swap.
    """

    processor: str
    from_version: int | None
    to_version: int
    changed: bool
    deployment_id: UUID | None
    attempts: int
    offsets: tuple[Position, ...]


def promote(
    engine: Engine,
    processor: str,
    version: int,
    *,
    who: str,
    lock_timeout_ms: int = LOCK_TIMEOUT_MS,
    deadline_s: float = DEADLINE_S,
    deployment_id: UUID | None = None,
) -> Promoted:
    """Makes ``version`` the one the view selects from; creates the view at the first promote.

    A transaction that meets a reader's lock is rolled back and tried again until ``deadline_s``
    seconds have passed. A COMMIT without an answer is settled by the row of the history.

    Raises:
        UnknownVersion: it was never built.
        IllegalTransition: it is not ready, or another promote came first.
        NotCaughtUp: a partition is behind; names topic, partition and offsets.
        TopicRecreated: the versions read different topics of one name.
        NameTaken, ViewIncompatible: the view cannot be moved to it.
        LockTimeout: readers held the view until the deadline.
        DatabaseUnavailable: the connection was lost, and the swap is known not to have happened,
            or (``outcome="unknown"``) the database did not come back to tell.
    """
    with engine.begin() as conn:
        active = _preflight(conn, processor, version)
    if active == version:
        return Promoted(processor, version, version, False, None, 0, ())
    deployment_id = deployment_id or uuid4()
    swap = Swap(processor, version, active, who, deployment_id, lock_timeout_ms)
    return _persist(engine, swap, deadline_s)


def _preflight(conn: Connection, processor: str, version: int) -> int | None:
    """What can be refused without any lock; returns the version that serves now."""
    record = records.require(conn, processor, version)
    owner = records.find_processor(conn, processor)
    active = None if owner is None else owner.active_version
    if active != version:
        if record.state in (State.BUILDING, State.FAILED):
            raise IllegalTransition(
                f"{processor} version {version} is {record.state.value}, not ready",
                hint=f"kappa replay {processor} --version {version}",
            )
        check_transition(processor, version, record.state, State.SERVING)
        serving = None if active is None else records.require(conn, processor, active).layout
        views.check_view(conn, record.layout, serving)
    return active


def _persist(engine: Engine, swap: Swap, deadline_s: float) -> Promoted:
    """Tries the swap until it succeeds, is refused, or the deadline passes."""
    attempts = Retrying(
        retry=retry_if_exception_type((LockTimeout, Deadlock)),
        wait=wait_random_exponential(multiplier=0.02, max=0.5),
        stop=stop_after_delay(deadline_s),
        reraise=True,
    )
    number = 0
    for attempt in attempts:
        with attempt:
            number = attempt.retry_state.attempt_number
            try:
                with engine.begin() as conn:
                    offsets = run(conn, swap)
            except DatabaseUnavailable as error:
                offsets = _settle(engine, swap, error)
    return Promoted(
        processor=swap.processor,
        from_version=swap.expected,
        to_version=swap.version,
        changed=offsets is not None,
        deployment_id=None if offsets is None else swap.deployment_id,
        attempts=number,
        offsets=offsets or (),
    )


def _settle(engine: Engine, swap: Swap, lost: DatabaseUnavailable) -> tuple[Position, ...]:
    """After a connection lost in the swap: its positions if it happened.

    The processor's row is locked first: a COMMIT still running holds it, and a plain read of
    the history could be too early to see its row.

    Raises:
        DatabaseUnavailable: it did not happen, or nobody can tell.
    """
    try:
        offsets = _read_outcome(engine, swap)
    except (DatabaseUnavailable, LockTimeout) as error:
        raise DatabaseUnavailable(
            "the connection was lost in a promote, and its outcome cannot be read",
            outcome="unknown",
            deployment_id=swap.deployment_id,
            hint="promote again once the database is back: a promote that happened does no harm",
        ) from error
    if offsets is None:
        raise lost
    return offsets


def _read_outcome(engine: Engine, swap: Swap) -> tuple[Position, ...] | None:
    """The positions of the swap as the history has them; None when it did not happen."""
    attempts = Retrying(
        retry=retry_if_exception_type(DatabaseUnavailable),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        stop=stop_after_delay(_SETTLE_S),
        reraise=True,
    )
    return attempts(_read_history, engine, swap)


def _read_history(engine: Engine, swap: Swap) -> tuple[Position, ...] | None:
    with engine.begin() as conn:
        set_lock_timeout(conn, int(_SETTLE_S * 1000))
        lock_processor(conn, swap.processor)
        offsets = conn.scalar(
            sa.select(history.c.offsets).where(history.c.deployment_id == swap.deployment_id)
        )
    return None if offsets is None else tuple(Position(**position) for position in offsets)
