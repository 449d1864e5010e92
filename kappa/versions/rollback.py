"""Which version a rollback takes back: the one that served before the present one."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from kappa.errors import IllegalTransition, UnknownVersion
from kappa.tables.bookkeeping import history
from kappa.versions import records
from kappa.versions.deployment import Action, Move
from kappa.versions.lifecycle import State


def back(conn: Connection, processor: str) -> Move:
    """From the version in service to the one that served before it did, and still stands by.

    Raises:
        UnknownVersion: nothing of this name serves.
        IllegalTransition: none served before, or it is retired; or the last thing that happened
            was a rollback, so that a command that is run again does not undo itself.
    """
    owner = records.find_processor(conn, processor)
    if owner is None:
        raise records.unrecorded(conn, processor)
    if owner.active_version is None:
        raise UnknownVersion(f"no version of {processor!r} serves", hint="kappa status")
    moved = (
        sa.select(history.c.from_version, history.c.action)
        .where(history.c.processor == processor, history.c.to_version == owner.active_version)
        .order_by(history.c.at.desc())
        .limit(1)
    )
    row = conn.execute(moved).first()
    version = None if row is None else row.from_version
    if row is not None and row.action == Action.ROLLBACK.value:
        raise IllegalTransition(
            f"{processor} was rolled back to version {owner.active_version} already",
            hint=f"to go forward again: kappa promote {processor}@{version}",
        )
    if version is None:
        raise IllegalTransition(
            f"{processor} version {owner.active_version} is the first that served",
            hint="there is nothing to go back to",
        )
    state = records.require(conn, processor, version).state
    if state is not State.STANDBY:
        raise IllegalTransition(
            f"{processor} version {version}, which served before, is {state.value}",
            hint=f"kappa versions list {processor}",
        )
    return Move(processor, owner.active_version, int(version))
