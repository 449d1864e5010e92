"""Which relay sends an output: the last one that claimed it, by its epoch.

All functions run in the caller's transaction.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kappa.errors import RelayFenced
from kappa.tables.bookkeeping import relay

LEASE = timedelta(seconds=10)
"""A relay that has said nothing for so long, by the database's clock, may be replaced."""


def is_vacant(conn: Connection, processor: str, output: str) -> bool:
    """Whether no relay that is there sends the output."""
    there = sa.select(relay.c.owner).where(
        _is(processor, output), relay.c.seen_at > sa.func.now() - LEASE
    )
    return conn.execute(there).first() is None


def renew(conn: Connection, processor: str, output: str, epoch: int) -> None:
    """Says that the relay with this epoch is there; nothing, if it has been replaced."""
    _see(conn, processor, output, epoch, sa.func.now())


def vacate(conn: Connection, processor: str, output: str, epoch: int) -> None:
    """Says that the relay with this epoch has gone, so that nobody waits for it."""
    _see(conn, processor, output, epoch, sa.func.to_timestamp(0))


def _see(
    conn: Connection, processor: str, output: str, epoch: int, at: sa.ColumnElement[Any]
) -> None:
    mine = sa.and_(_is(processor, output), relay.c.epoch == epoch)
    conn.execute(sa.update(relay).where(mine).values(seen_at=at))


def _is(processor: str, output: str) -> sa.ColumnElement[bool]:
    return sa.and_(relay.c.processor == processor, relay.c.output == output)


def claim(conn: Connection, processor: str, output: str, owner: str) -> int:
    """Takes an output over; returns the epoch that whoever had it before does not know."""
    first = insert(relay).values(processor=processor, output=output, epoch=1, owner=owner)
    taken = first.on_conflict_do_update(
        constraint=relay.primary_key,
        set_={
            "epoch": relay.c.epoch + 1,
            "owner": owner,
            "claimed_at": sa.func.now(),
            "seen_at": sa.func.now(),
        },
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
        .where(_is(processor, output))
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
