"""Kafka, PostgreSQL and the registry: reachable, new enough, and ours to use."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

from kappa.config import Settings, require_kafka
from kappa.errors import KappaError
from kappa.log.client import KafkaConnection
from kappa.operations.doctor.finding import Finding, Outcome, ok, problem, warning
from kappa.registry.topic import TopicRegistry
from kappa.tables import bookkeeping


def check_kafka(settings: Settings) -> Finding:
    """Whether any broker answers."""
    try:
        with KafkaConnection(require_kafka(settings)) as connection, connection.translating():
            metadata = connection.admin().list_topics(timeout=connection.timeout_s)
    except KappaError as error:
        return problem("kafka", error)
    return ok("kafka", f"answers; {len(metadata.brokers)} brokers")


def check_registry(settings: Settings) -> Finding:
    """Whether the schemas can be read, all of them."""
    topic = settings.registry.topic
    try:
        subjects = TopicRegistry(require_kafka(settings), topic).subjects()
    except KappaError as error:
        return problem("registry", error)
    if not subjects:
        return warning(
            "registry",
            f"{topic} holds no schema",
            "'kappa topics create --schema FILE' registers one;"
            " KAPPA_REGISTRY__TOPIC names another topic",
        )
    return ok("registry", f"{topic} is readable; {len(subjects)} subjects")


def check_database(conn: Connection) -> Iterator[Finding]:
    """Version, migrations and rights. The connection itself refuses what is too old."""
    yield ok("postgresql", f"answers; version {conn.scalar(text('SHOW server_version'))}")
    yield _migrations(conn)
    yield _rights(conn)


def _migrations(conn: Connection) -> Finding:
    try:
        bookkeeping.require_current(conn)
    except KappaError as error:
        return problem("migrations", error)
    return ok("migrations", f"current at {bookkeeping.REVISION}")


def _rights(conn: Connection) -> Finding:
    role, schema, may_create = conn.execute(_RIGHTS).one()
    if schema is None:
        return Finding(
            "rights",
            Outcome.PROBLEM,
            f"role {role} has no current schema",
            "name one that exists in its search_path",
        )
    if not may_create:
        return Finding(
            "rights",
            Outcome.PROBLEM,
            f"role {role} may not create tables and views in schema {schema}",
            f'GRANT CREATE, USAGE ON SCHEMA "{schema}" TO "{role}"',
        )
    foreign = list(conn.scalars(_NOT_OURS))
    if foreign:
        return Finding(
            "rights",
            Outcome.PROBLEM,
            f"role {role} does not own {', '.join(foreign)}",
            f'ALTER TABLE … OWNER TO "{role}", or connect as the owner',
        )
    return ok("rights", f"role {role} may create tables and views in schema {schema}")


_RIGHTS = text(
    "SELECT current_user, current_schema(),"
    " coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)"
)

_NOT_OURS = text(
    "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
    " AND relkind = 'r' AND relname LIKE 'kappa\\_%'"
    " AND NOT pg_has_role(current_user, relowner, 'USAGE') ORDER BY relname"
)
