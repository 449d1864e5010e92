"""Which relay sends an output: the last one that claimed it, by its epoch.

All functions run in the caller's transaction.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kappa.errors import RelayFenced
from kappa.tables.bookkeeping import relay


def claim(conn: Connection, processor: str, output: str, owner: str) -> int:
    """Takes an output over; returns the epoch that whoever had it before does not know."""
    first = insert(relay).values(processor=processor, output=output, epoch=1, owner=owner)
    taken = first.on_conflict_do_update(
        constraint=relay.primary_key,
        set_={"epoch": relay.c.epoch + 1, "owner": owner, "claimed_at": sa.func.now()},
    )
    epoch: int = conn.execute(taken.returning(relay.c.epoch)).scalar_one()
    return epoch


def hold(conn: Connection, processor: str, output: str, epoch: int) -> None:
    """Passes if the output is still ours, and keeps it so until COMMIT.

    Raises:
        RelayFenced: another relay has claimed it.
    """
    row = conn.execute(
        sa.select(relay.c.epoch, relay.c.owner)
        .where(relay.c.processor == processor, relay.c.output == output)
        .with_for_update(key_share=True)
    ).first()
    if row is None or row.epoch != epoch:
        raise RelayFenced(
            "another relay has taken the output over",
            processor=processor,
            output=output,
            epoch=epoch,
            epoch_now=row and row.epoch,
            owner_now=row and row.owner,
            hint="one relay sends an output at a time: this one has stopped",
        )
