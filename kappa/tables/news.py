"""News that something waits to leave, from a commit to whoever waits for it."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import sqlalchemy as sa
from psycopg import sql
from sqlalchemy import Connection, Engine

from kappa.tables.engine import driver, translating

_CHANNEL = "kappa_outbox"


def tell(conn: Connection, processor: str) -> None:
    """Wakes those who wait for this processor, once the transaction of ``conn`` commits."""
    conn.execute(sa.select(sa.func.pg_notify(_CHANNEL, processor)))


class News:
    """A session that waits to be told of a processor. Use it as a context manager."""

    def __init__(self, engine: Engine, processor: str) -> None:
        self._engine = engine
        self._processor = processor

    def wait(self, seconds: float) -> bool:
        """Whether there was news of the processor; waits for some, no longer than ``seconds``.

        Raises:
            DatabaseUnavailable: the session was lost.
        """
        with translating():
            told = driver(self._conn).notifies(timeout=seconds, stop_after=1)
            return any(notice.payload == self._processor for notice in told)

    def __enter__(self) -> Self:
        self._conn = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        with translating():
            driver(self._conn).execute(sql.SQL("LISTEN {}").format(sql.Identifier(_CHANNEL)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Not back to the pool: whoever is given it next would still be told.
        self._conn.invalidate()
        self._conn.close()
