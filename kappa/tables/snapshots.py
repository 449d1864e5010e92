"""Readers whose snapshot is older than a moment: what was written since is invisible to them.

A view is looked up as it is now, even by a transaction that began long ago, but rows are seen as
they were then: moved to a table that was filled since, it would show such a reader nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Reader:
    """A session with an old snapshot."""

    pid: int
    user: str | None
    application: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment to compare snapshots with: a transaction id of 64 bits, and the server's clock."""

    xid: int
    at: datetime


def now(conn: Connection) -> Moment:
    """This moment."""
    row = conn.execute(text("SELECT pg_current_xact_id()::text::bigint, clock_timestamp()")).one()
    return Moment(row[0], row[1])


def older(conn: Connection, moment: Moment) -> tuple[Reader, ...]:
    """Sessions in this database that hold a snapshot taken before ``moment``, the oldest first.

    Not those of kappa itself, which read no views. Nor sessions that are merely in a transaction:
    in READ COMMITTED their next statement takes a new snapshot.
    """
    rows = conn.execute(_OLDER, {"moment": moment.xid, "at": moment.at})
    return tuple(Reader(row.pid, row.usename, row.application_name, row.xact_start) for row in rows)


# What a role may not know of another's session is NULL: its type, and since when. It does know that
# an autovacuum worker, which may hold a snapshot for hours, is nobody's session. The oldest
# transaction that runs, anybody's, keeps the xmin of all later snapshots down: so of sessions whose
# transaction is known to be younger than the moment nothing is asked. backend_xmin has 32 bits.
# What lies within 2³¹ of the moment is compared with it; the server itself lets nothing be further
# away.
_OLDER = text("""
SELECT pid, usename, application_name, xact_start FROM pg_stat_activity
WHERE datname = current_database() AND coalesce(application_name, '') <> 'kappa'
  AND coalesce(backend_type, 'client backend') = 'client backend' AND usesysid IS NOT NULL
  AND backend_xmin IS NOT NULL AND (xact_start IS NULL OR xact_start <= :at)
  AND (((:moment - backend_xmin::text::bigint) % 4294967296 + 4294967296) % 4294967296)
      BETWEEN 1 AND 2147483647
ORDER BY xact_start
""")
