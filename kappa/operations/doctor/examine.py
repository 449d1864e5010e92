"""All checks in their order: what stands below is looked at first."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from kappa.config import Settings, require_postgres
from kappa.errors import KappaError, MigrationNeeded
from kappa.operations.doctor.finding import Finding, Outcome, problem
from kappa.operations.doctor.servers import check_database, check_kafka, check_registry
from kappa.operations.doctor.versions import Followed, check_logs, check_plugins, followed
from kappa.tables.bookkeeping import require_current
from kappa.tables.engine import connect


def examine(settings: Settings) -> Iterator[Finding]:
    """Looks at everything and changes nothing; what cannot be looked at is left out.

    A finding comes as soon as it is made.
    """
    kafka = check_kafka(settings)
    yield kafka
    reachable = kafka.outcome is not Outcome.PROBLEM
    if reachable:
        yield check_registry(settings)
    versions: tuple[Followed, ...] = ()
    try:
        engine = connect(require_postgres(settings))
        try:
            with engine.connect() as conn:
                yield from check_database(conn)
                versions = _followed(conn)
        finally:
            engine.dispose()
    except KappaError as error:
        yield problem("postgresql", error)
    yield from check_plugins(versions)
    if reachable:
        yield from check_logs(settings, versions)


def _followed(conn: Connection) -> tuple[Followed, ...]:
    try:
        require_current(conn)
    except MigrationNeeded:
        return ()  # said already
    return followed(conn)
