"""kappa's own tables: processors, versions, progress, what was served, dead letters, history.

They are made by the migrations and only described here. Columns that grow with a table are
never reused for another meaning; times of events and records are milliseconds since 1970.
"""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    column,
    func,
    select,
    table,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from kappa.errors import MigrationNeeded

REVISION = "0005"
"""The migration that makes the tables as they are described here."""

VERSION_TABLE = "kappa_alembic_version"

metadata = MetaData()

processor = Table(
    "kappa_processor",
    metadata,
    Column("name", Text, primary_key=True),
    Column("active_version", Integer),
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
"""One row per processor. Its lock orders promotes against each other and new partitions."""

version = Table(
    "kappa_version",
    metadata,
    Column("processor", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("declaration", JSONB, nullable=False),
    Column("reader_schema_id", Integer),
    Column("distribution", Text),
    Column("distribution_version", Text),
    Column("overrides", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("accepted", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("manifest", JSONB),
    Column("drains_until", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("ready_at", DateTime(timezone=True)),
    Column("retired_at", DateTime(timezone=True)),
    ForeignKeyConstraint(["processor"], ["kappa_processor.name"]),
)
"""One row per version, kept after it is retired: numbers are never reused.

``accepted`` lists other code that a person accepted under this number. While a version drains,
``drains_until`` is when it takes input again if nothing else happens.
"""

offset = Table(
    "kappa_offset",
    metadata,
    Column("processor", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("topic_id", Text, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("start_offset", BigInteger, nullable=False),
    Column("target_offset", BigInteger),
    Column("max_event_time", BigInteger),
    Column("max_record_time", BigInteger),
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),
    Column("owner", Text),
    Column("backend_pid", Integer),
    Column("records", BigInteger, nullable=False, server_default=text("0")),
    Column("late", BigInteger, nullable=False, server_default=text("0")),
    Column("dead", BigInteger, nullable=False, server_default=text("0")),
    Column("filtered", BigInteger, nullable=False, server_default=text("0")),
    Column("schema_ids", ARRAY(Integer), nullable=False, server_default=text("'{}'")),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    ForeignKeyConstraint(
        ["processor", "version"], ["kappa_version.processor", "kappa_version.version"]
    ),
    CheckConstraint("next_offset >= start_offset", name="kappa_offset_next"),
    # Rewritten at every checkpoint: room on the page keeps those updates heap-only.
    postgresql_with={"fillfactor": 40},
)
"""One row per partition a version reads: its checkpoint, its fence and its counters."""

served = Table(
    "kappa_served",
    metadata,
    Column("processor", Text, primary_key=True),
    Column("topic_id", Text, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("topic", Text, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    ForeignKeyConstraint(["processor"], ["kappa_processor.name"]),
)
"""How far readers of the view had seen when it was last moved: no promote goes below it."""

dead_letter = Table(
    "kappa_dead_letter",
    metadata,
    Column("processor", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("index", Integer, primary_key=True, autoincrement=False, server_default=text("0")),
    Column("timestamp", BigInteger, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    Column("error_class", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("stack", Text),
    Column("timer", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("retry_of", BigInteger),
    Column("retried_by", BigInteger),
    Column("dropped_at", DateTime(timezone=True)),
)
"""Records a version could not process, at their place in the log.

A timer that failed is here too, at the record that made it fire: ``timer`` says which, and
``index`` counts them from one; the record's own letter has index zero. ``retry_of`` is the offset,
in the same partition, of the record this one is a copy of, where that is a letter too;
``retried_by`` that of the copy that was applied in its place. A letter that a person dropped keeps
its place and loses its bytes.
"""

OPEN = "retry_of IS NULL AND retried_by IS NULL AND dropped_at IS NULL"
"""Letters nothing was done about yet. A copy that failed too counts as its original does."""

Index(
    "kappa_dead_letter_open",
    *(dead_letter.c[name] for name in ("processor", "version", "topic", "partition", "offset")),
    postgresql_where=text(OPEN),
)
Index(
    "kappa_dead_letter_copy",
    *(dead_letter.c[name] for name in ("processor", "version", "topic", "partition", "retry_of")),
    postgresql_where=dead_letter.c.retry_of.is_not(None),
)

worker = Table(
    "kappa_worker",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("processor", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("owner", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("bottleneck", Text),
    Column("records_per_second", Double, nullable=False, server_default=text("0")),
    Column("resident_bytes", BigInteger),
    Column("last_error", JSONB),
    Column("last_error_at", DateTime(timezone=True)),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    ForeignKeyConstraint(
        ["processor", "version"], ["kappa_version.processor", "kappa_version.version"]
    ),
)
"""What the workers that follow a version say of themselves, for people; it decides nothing."""

outbox = Table(
    "kappa_outbox",
    metadata,
    Column("processor", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("output", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("index", Integer, primary_key=True, autoincrement=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    Column("failed_at", DateTime(timezone=True)),
    Column("error", Text),
    ForeignKeyConstraint(
        ["processor", "version"], ["kappa_version.processor", "kappa_version.version"]
    ),
)
"""What is to leave for other systems, known by the record that caused it, until it has left.

A row that no try could deliver stays, with when it was set aside and why.
"""

dirty_key = Table(
    "kappa_dirty_key",
    metadata,
    Column("processor", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("output", Text, nullable=False),
    Column("key", JSONB, nullable=False),
    Column("reached", JSONB, nullable=False),
    Column("batch", BigInteger),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    ForeignKeyConstraint(
        ["processor", "version"], ["kappa_version.processor", "kappa_version.version"]
    ),
    Index("kappa_dirty_key_of_output", "processor", "output", "version", "batch"),
)
"""Keys whose row changed and is still to leave, once for each checkpoint that changed it.

``reached`` is the offset, exclusive, by partition, to which that checkpoint went. A relay writes
the number of the batch a key leaves with into ``batch`` before it sends it.
"""

relay = Table(
    "kappa_relay",
    metadata,
    Column("processor", Text, primary_key=True),
    Column("output", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("claimed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("seen_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("last_error", JSONB),
    Column("last_error_at", DateTime(timezone=True)),
    ForeignKeyConstraint(["processor"], ["kappa_processor.name"]),
)
"""Which relay an output is sent by; its epoch fences off the one before. ``seen_at`` is when it
last said that it is there: others stand by until that is long ago. ``last_error`` is what keeps
the output from being sent, for people."""

finality = Table(
    "kappa_finality",
    metadata,
    Column("processor", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("final_through", DateTime(timezone=True), nullable=False),
    Column("corrections", BigInteger, nullable=False, server_default=text("0")),
    ForeignKeyConstraint(
        ["processor", "version"], ["kappa_version.processor", "kappa_version.version"]
    ),
)
"""Up to where a version's windows are final, which only rises, and how many records of partitions
that had been silent, or had none before, were applied to such windows all the same."""

history = Table(
    "kappa_history",
    metadata,
    Column("deployment_id", Uuid, primary_key=True),
    Column("processor", Text, primary_key=True),
    Column("action", Text, nullable=False),
    Column("from_version", Integer),
    Column("to_version", Integer),
    Column("who", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("offsets", JSONB, nullable=False),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    ForeignKeyConstraint(["processor"], ["kappa_processor.name"]),
)
"""What was done to which view, by whom, at which offsets. Written in the same transaction."""


def revision(conn: Connection) -> str | None:
    """The migration the database is at; None where kappa has no tables yet."""
    if conn.scalar(select(func.to_regclass(VERSION_TABLE))) is None:
        return None
    return conn.scalar(select(column("version_num")).select_from(table(VERSION_TABLE)))


def require_current(conn: Connection) -> None:
    """Checks that kappa's own tables are those of this kappa.

    Raises:
        MigrationNeeded: they are older, missing, or newer.
    """
    found = revision(conn)
    if found == REVISION:
        return
    if found is not None and found > REVISION:
        raise MigrationNeeded(
            "kappa's tables were made by a newer kappa",
            found=found,
            known=REVISION,
            hint="upgrade kappa",
        )
    raise MigrationNeeded(
        "kappa's tables are missing" if found is None else "kappa's tables are out of date",
        found=found,
        needed=REVISION,
        hint="run 'kappa db upgrade'",
    )
