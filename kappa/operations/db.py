"""kappa's own tables in PostgreSQL: at which migration they are, and bringing them up to date."""

from __future__ import annotations

from dataclasses import dataclass

from kappa.config import Settings, require_postgres
from kappa.tables import bookkeeping, migrate
from kappa.tables.engine import connect


@dataclass(frozen=True)
class Upgraded:
    """Which migrations were run, oldest first; none when there was nothing to do."""

    revision: str
    applied: tuple[str, ...]


@dataclass(frozen=True)
class Current:
    """Where the database is (``revision`` is None before the first upgrade) and should be."""

    revision: str | None
    needed: str
    pending: tuple[str, ...]

    @property
    def up_to_date(self) -> bool:
        return self.revision == self.needed


def upgrade(settings: Settings) -> Upgraded:
    """Creates or migrates kappa's own tables. Safe to run twice, also at the same time.

    Raises:
        DatabaseUnavailable: no server answers.
        MigrationNeeded: the tables were made by a newer kappa.
    """
    engine = connect(require_postgres(settings))
    try:
        return Upgraded(bookkeeping.REVISION, migrate.upgrade(engine))
    finally:
        engine.dispose()


def current(settings: Settings) -> Current:
    """Compares the database with this kappa; changes nothing.

    Raises:
        DatabaseUnavailable: no server answers.
    """
    engine = connect(require_postgres(settings))
    try:
        with engine.begin() as conn:
            return Current(bookkeeping.revision(conn), bookkeeping.REVISION, migrate.pending(conn))
    finally:
        engine.dispose()
