"""Waiting for readers whose snapshot is older than a promote."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, Engine
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from kappa.errors import OldSnapshot
from kappa.tables import snapshots
from kappa.tables.snapshots import Moment

_LOOK_S = 0.05


def outlast(engine: Engine, deadline_s: float, tell: Callable[[str], None]) -> None:
    """Waits until no snapshot is older than now: then each sees new versions as they are now.

    ``tell`` hears whom it waits for.

    Raises:
        OldSnapshot: a session still has one at the deadline.
    """
    with engine.begin() as conn:
        moment = snapshots.now(conn)
    attempts = Retrying(
        retry=retry_if_exception_type(OldSnapshot),
        wait=wait_fixed(_LOOK_S),
        stop=stop_after_delay(deadline_s),
        reraise=True,
    )
    attempts(_require_none, engine, moment, tell)


def _require_none(engine: Engine, moment: Moment, tell: Callable[[str], None]) -> None:
    with engine.begin() as conn:
        error = find(conn, moment)
    if error is not None:
        tell(f"session {error.detail['pid']} has a transaction older than the promote")
        raise error


def find(conn: Connection, moment: Moment) -> OldSnapshot | None:
    """What to say of the oldest snapshot taken before ``moment``; None where there is none."""
    readers = snapshots.older(conn, moment)
    if not readers:
        return None
    first = readers[0]
    return OldSnapshot(
        "a reader's snapshot is older than the promote, and would see too little",
        pid=first.pid,
        user=first.user,
        application=first.application or None,
        since=first.since,
        readers=len(readers),
        hint="end that transaction, try again when it is over, or promote with"
        " --ignore-snapshots if it does not read these views",
    )
