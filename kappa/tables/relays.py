"""Which relay sends an output: the last one that claimed it, by its epoch; and what it has met.

All functions run in the caller's transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kappa.errors import RelayFenced
from kappa.tables.bookkeeping import relay

LEASE = timedelta(seconds=10)
"""A relay that has said nothing for so long, by the database's clock, may be replaced."""
_LONG_AGO = sa.func.to_timestamp(0)


@dataclass(frozen=True, slots=True)
class RelayRow:
    """Who sends an output, and what keeps it from being sent.

    Attributes:
        owner: the relay that claimed it last.
        last_error: ``class``, ``message``, ``detail`` and ``hint``; None where all is well.
        last_error_at: since when it has been that one.
    """

    output: str
    owner: str
    seen_at: datetime | None
    last_error: dict[str, Any] | None
    last_error_at: datetime | None


def read(conn: Connection, processor: str) -> tuple[RelayRow, ...]:
    """The outputs of a processor that a relay has claimed, by name."""
    seen_at = sa.func.nullif(relay.c.seen_at, _LONG_AGO).label("seen_at")
    shown = (seen_at if name == "seen_at" else relay.c[name] for name in RelayRow.__slots__)
    query = sa.select(*shown).where(relay.c.processor == processor).order_by(relay.c.output)
    return tuple(RelayRow(**row) for row in conn.execute(query).mappings())


def fail(conn: Connection, processor: str, output: str, owner: str, error: dict[str, Any]) -> None:
    """Writes down what a relay has met, or has ended with. It stays until one does well."""
    row = {"processor": processor, "output": output, "epoch": 0, "owner": owner}
    met = insert(relay).values(
        **row, seen_at=_LONG_AGO, last_error=error, last_error_at=sa.func.now()
    )
    same = (relay.c.last_error[key].astext == error[key] for key in ("class", "message"))
    since = sa.case((sa.and_(*same), relay.c.last_error_at), else_=sa.func.now())
    conn.execute(
        met.on_conflict_do_update(
            constraint=relay.primary_key, set_={"last_error": error, "last_error_at": since}
        )
    )


def recover(conn: Connection, processor: str, output: str, owner: str) -> None:
    """Removes what was met, if this is the relay that sends the output; others only stand by."""
    mine = sa.and_(_is(processor, output), relay.c.owner == owner)
    conn.execute(
        sa.update(relay)
        .where(mine, relay.c.last_error.is_not(None))
        .values(last_error=sa.null(), last_error_at=None)
    )


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
    _see(conn, processor, output, epoch, _LONG_AGO)


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
