"""kappa's own tables that only the change from one version to another needs.

They are made by the migrations and only described here, like those of `bookkeeping`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from kappa.tables.bookkeeping import metadata

transition = Table(
    "kappa_transition",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("processor", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("from_state", Text),
    Column("to_state", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("deployment_id", Uuid),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("offsets", JSONB, nullable=False),
    ForeignKeyConstraint(
        ["processor", "version"], ["kappa_version.processor", "kappa_version.version"]
    ),
    Index("kappa_transition_of_version", "processor", "version"),
)
"""Every step of every version from one state to the next, and where its offsets stood then."""

hold = Table(
    "kappa_hold",
    metadata,
    Column("processor", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("until_offset", BigInteger, nullable=False),
    Column("held_by", Uuid, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    ForeignKeyConstraint(
        ["processor", "version"], ["kappa_version.processor", "kappa_version.version"]
    ),
)
"""Where a version's partitions stop for a while, so that two versions stand at the same offsets.

``until_offset`` is exclusive: no checkpoint goes past it until the hold is released, or expires
by the database's clock.
"""

diff = Table(
    "kappa_diff",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("processor", Text, nullable=False),
    Column("from_version", Integer, nullable=False),
    Column("to_version", Integer, nullable=False),
    Column("who", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("accepted", Boolean, nullable=False),
    Column("offsets", JSONB, nullable=False),
    Column("result", JSONB, nullable=False),
    ForeignKeyConstraint(
        ["processor", "from_version"], ["kappa_version.processor", "kappa_version.version"]
    ),
    ForeignKeyConstraint(
        ["processor", "to_version"], ["kappa_version.processor", "kappa_version.version"]
    ),
    Index("kappa_diff_of_versions", "processor", "to_version", "at"),
)
"""What a comparison of two versions at one offset vector found; ``accepted`` is whether that was
within what the command allowed. A promote can ask for such a row."""
