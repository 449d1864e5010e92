"""What the workers that follow a version say of themselves.

It is shown to people, and decides no more than how patient somebody is. All functions run in the
caller's transaction. Which worker is still there is judged by the database's clock alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kappa.tables.bookkeeping import worker

GONE_AFTER = timedelta(seconds=30)
"""A worker that has not reported for so long counts as gone."""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One report of one worker.

    Attributes:
        id: new for every process, so that two never write one row.
        owner: who it is, for people: as in the offset rows.
        bottleneck: ``source``, ``processing`` or ``database``; None while it has nothing to do.
        last_error: ``class``, ``message``, ``detail`` and ``hint`` of the last one; None if there
            was none. Since when is kept by the database.
    """

    id: UUID
    processor: str
    version: int
    owner: str
    state: str
    started_at: datetime
    bottleneck: str | None = None
    records_per_second: float = 0.0
    resident_bytes: int | None = None
    last_error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A worker that is there.

    Attributes:
        last_error_at: since when ``last_error`` has been the last one.
        seen_at: when it last reported.
    """

    row: WorkerRow
    last_error_at: datetime | None
    seen_at: datetime


def report(conn: Connection, row: WorkerRow) -> None:
    """Writes what a worker says of itself, and removes the rows of those that are gone."""
    values = asdict(row) | {"last_error": sa.null() if row.last_error is None else row.last_error}
    first = None if row.last_error is None else sa.func.now()
    insertion = insert(worker).values(values | {"last_error_at": first, "seen_at": sa.func.now()})
    new = insertion.excluded
    since = sa.case(
        (worker.c.last_error == new.last_error, worker.c.last_error_at),
        else_=new.last_error_at,
    )
    changed = {name: new[name] for name in values if name != "id"}
    conn.execute(
        insertion.on_conflict_do_update(
            index_elements=[worker.c.id],
            set_={**changed, "last_error_at": since, "seen_at": sa.func.now()},
        )
    )
    prune(conn)


def remove(conn: Connection, worker_id: UUID) -> None:
    """Removes a worker that ends; one that is not there is no error."""
    conn.execute(sa.delete(worker).where(worker.c.id == worker_id))


def prune(conn: Connection) -> int:
    """Removes the rows of workers that are gone; returns how many.

    Rows that another transaction has locked are left to it, so that no two ever wait for each
    other.
    """
    gone = sa.select(worker.c.id).where(sa.not_(_present())).with_for_update(skip_locked=True)
    removed = conn.execute(sa.delete(worker).where(worker.c.id.in_(gone)).returning(worker.c.id))
    return len(removed.all())


def read(conn: Connection, processor: str, version: int) -> tuple[Seen, ...]:
    """The workers of a version that are there, the oldest first."""
    of_version = sa.and_(worker.c.processor == processor, worker.c.version == version)
    query = sa.select(worker).where(of_version, _present())
    found = conn.execute(query.order_by(worker.c.started_at, worker.c.id)).mappings()
    return tuple(_seen(dict(row)) for row in found)


def _present() -> sa.ColumnElement[bool]:
    return worker.c.seen_at > sa.func.now() - GONE_AFTER


def _seen(row: dict[str, Any]) -> Seen:
    error_at, seen_at = row.pop("last_error_at"), row.pop("seen_at")
    return Seen(WorkerRow(**row), error_at, seen_at)
