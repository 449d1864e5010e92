"""What the workers that follow a version say of themselves.

It is shown to people, and decides no more than how patient somebody is. All functions run in the
caller's transaction. Which worker is still there is judged by the database's clock alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kappa.tables.bookkeeping import worker

GONE_AFTER = timedelta(seconds=30)
"""A worker that has not reported for so long counts as gone."""
FAILED = "failed"
"""The state of a row whose worker has ended with an error. The row stays for that error's sake."""

_SAME = ("class", "message")
"""What two errors have in common that are the same one, met again."""


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
    """A worker that is there, or the error that one has ended with.

    Attributes:
        last_error_at: since when ``last_error`` has been the last one.
        seen_at: when it last reported.
    """

    row: WorkerRow
    last_error_at: datetime | None
    seen_at: datetime


def report(conn: Connection, row: WorkerRow) -> None:
    """Writes what a worker says of itself, and removes the rows of those that are gone."""
    _write(conn, row, None if row.last_error is None else sa.func.now())
    prune(conn)


def fail(conn: Connection, row: WorkerRow) -> None:
    """Writes the error that a worker has ended with, in place of the one before of its version.

    It stays until ``recover``, however long that takes.
    """
    error = row.last_error or {}
    again = sa.and_(*(worker.c.last_error[key].astext == error.get(key) for key in _SAME))
    of_version = _failed(row.processor, row.version)
    since = conn.scalar(sa.select(sa.func.min(worker.c.last_error_at)).where(of_version, again))
    before = sa.select(worker.c.id).where(of_version).with_for_update(skip_locked=True)
    conn.execute(sa.delete(worker).where(worker.c.id.in_(before)))
    _write(conn, replace(row, state=FAILED), since or sa.func.now())


def recover(conn: Connection, processor: str, version: int) -> None:
    """Removes the error that a worker of the version has ended with: it is followed well again.

    An error that is younger than GONE_AFTER stays. Another worker may do well meanwhile, and a
    place that fails again and again pauses for less than that.
    """
    old = worker.c.seen_at < sa.func.now() - GONE_AFTER
    over = sa.select(worker.c.id).where(_failed(processor, version), old)
    conn.execute(sa.delete(worker).where(worker.c.id.in_(over.with_for_update(skip_locked=True))))


def failures(conn: Connection, processor: str, version: int) -> tuple[Seen, ...]:
    """The errors that workers of a version have ended with, and that it has not got over."""
    return _read(conn, _failed(processor, version))


def _write(conn: Connection, row: WorkerRow, first: object) -> None:
    values = asdict(row) | {"last_error": sa.null() if row.last_error is None else row.last_error}
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


def remove(conn: Connection, worker_id: UUID) -> None:
    """Removes a worker that ends well; one that is not there is no error."""
    conn.execute(sa.delete(worker).where(worker.c.id == worker_id))


def prune(conn: Connection) -> int:
    """Removes the rows of workers that are gone; returns how many.

    Rows that another transaction has locked are left to it, so that no two ever wait for each
    other.
    """
    gone = sa.select(worker.c.id).where(_gone()).with_for_update(skip_locked=True)
    removed = conn.execute(sa.delete(worker).where(worker.c.id.in_(gone)).returning(worker.c.id))
    return len(removed.all())


def read(conn: Connection, processor: str, version: int) -> tuple[Seen, ...]:
    """The workers of a version that are there, the oldest first."""
    works = sa.and_(worker.c.state != FAILED, worker.c.seen_at > sa.func.now() - GONE_AFTER)
    return _read(conn, sa.and_(_of(processor, version), works))


def _read(conn: Connection, which: sa.ColumnElement[bool]) -> tuple[Seen, ...]:
    query = sa.select(worker).where(which).order_by(worker.c.started_at, worker.c.id)
    return tuple(_seen(dict(row)) for row in conn.execute(query).mappings())


def _of(processor: str, version: int) -> sa.ColumnElement[bool]:
    return sa.and_(worker.c.processor == processor, worker.c.version == version)


def _failed(processor: str, version: int) -> sa.ColumnElement[bool]:
    return sa.and_(_of(processor, version), worker.c.state == FAILED)


def _gone() -> sa.ColumnElement[bool]:
    silent = worker.c.seen_at <= sa.func.now() - GONE_AFTER
    return sa.and_(worker.c.state != FAILED, silent)


def _seen(row: dict[str, Any]) -> Seen:
    error_at, seen_at = row.pop("last_error_at"), row.pop("seen_at")
    return Seen(WorkerRow(**row), error_at, seen_at)
