"""The database as every command sees it: one that has kappa's own tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from kappa.config import Settings, require_postgres
from kappa.tables.bookkeeping import require_current
from kappa.tables.engine import connect


@contextmanager
def database(settings: Settings) -> Iterator[Engine]:
    """An engine on the configured database, for as long as the block.

    Raises:
        ConfigError: none is configured.
        MigrationNeeded: kappa's own tables are missing, or not those of this kappa.
    """
    engine = connect(require_postgres(settings))
    try:
        with engine.connect() as connection:
            require_current(connection)
        yield engine
    finally:
        engine.dispose()


@contextmanager
def reading(settings: Settings) -> Iterator[Connection]:
    """A connection to it. Raises what `database` raises."""
    with database(settings) as engine, engine.connect() as connection:
        yield connection
