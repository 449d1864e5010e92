"""Whether a swap whose COMMIT had no answer has happened: the history says."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Engine
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from kappa.errors import DatabaseUnavailable, LockTimeout
from kappa.tables.bookkeeping import history
from kappa.tables.engine import set_lock_timeout
from kappa.versions.caught_up import Position
from kappa.versions.deployment import Deployment, Moved
from kappa.versions.swap import lock_processor

_SETTLE_S = 45.0
"""How long to wait for a database that went away in a COMMIT: a session it has not noticed to be
dead holds its locks until the server ends it as idle in a transaction, after 30 seconds."""


def settle(engine: Engine, deployment: Deployment, lost: DatabaseUnavailable) -> tuple[Moved, ...]:
    """After a connection lost in the swap: what it did, if it happened.

    The processors' rows are locked first: a COMMIT still running holds them, and a plain read of
    the history could be too early to see its rows.

    Raises:
        DatabaseUnavailable: it did not happen, or nobody can tell.
    """
    attempts = Retrying(
        retry=retry_if_exception_type(DatabaseUnavailable),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        stop=stop_after_delay(_SETTLE_S),
        reraise=True,
    )
    try:
        moved = attempts(_read, engine, deployment)
    except (DatabaseUnavailable, LockTimeout) as error:
        raise DatabaseUnavailable(
            f"the connection was lost in a {deployment.action.value}, and its outcome cannot be"
            " read",
            outcome="unknown",
            deployment_id=deployment.id,
            hint="run it again once the database is back: if it happened, it says so",
        ) from error
    if not any(move.changed for move in moved):
        raise lost
    return moved


def _read(engine: Engine, deployment: Deployment) -> tuple[Moved, ...]:
    with engine.begin() as conn:
        set_lock_timeout(conn, int(_SETTLE_S * 1000))
        for move in deployment.moves:
            lock_processor(conn, move.processor)
        found = conn.execute(
            sa.select(history.c.processor, history.c.offsets).where(
                history.c.deployment_id == deployment.id
            )
        )
        offsets = {row.processor: tuple(Position(**at) for at in row.offsets) for row in found}
    return deployment.moved(offsets)
