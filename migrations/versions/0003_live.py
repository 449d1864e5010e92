"""Workers that follow versions, outboxes, and what becomes of dead letters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "kappa_worker",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("processor", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("bottleneck", sa.Text),
        sa.Column("records_per_second", sa.Double, nullable=False, server_default=sa.text("0")),
        sa.Column("resident_bytes", sa.BigInteger),
        sa.Column("last_error", JSONB),
        sa.Column("last_error_at", sa.DateTime(timezone=True)),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "seen_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.ForeignKeyConstraint(
            ["processor", "version"], ["kappa_version.processor", "kappa_version.version"]
        ),
    )
    op.create_table(
        "kappa_outbox",
        sa.Column("processor", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("output", sa.Text, primary_key=True),
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("offset", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        sa.Column("failed_at", sa.DateTime(timezone=True)),
        sa.Column("error", sa.Text),
        sa.ForeignKeyConstraint(
            ["processor", "version"], ["kappa_version.processor", "kappa_version.version"]
        ),
    )
    op.create_table(
        "kappa_dirty_key",
        sa.Column("processor", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("output", sa.Text, nullable=False),
        sa.Column("key", JSONB, nullable=False),
        sa.Column("reached", JSONB, nullable=False),
        sa.Column("batch", sa.BigInteger),
        sa.Column(
            "changed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.ForeignKeyConstraint(
            ["processor", "version"], ["kappa_version.processor", "kappa_version.version"]
        ),
    )
    op.create_index(
        "kappa_dirty_key_of_output", "kappa_dirty_key", ["processor", "output", "version", "batch"]
    )
    op.create_table(
        "kappa_relay",
        sa.Column("processor", sa.Text, primary_key=True),
        sa.Column("output", sa.Text, primary_key=True),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column(
            "claimed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.Column(
            "seen_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.ForeignKeyConstraint(["processor"], ["kappa_processor.name"]),
    )
    op.add_column("kappa_dead_letter", sa.Column("retry_of", sa.BigInteger))
    op.add_column("kappa_dead_letter", sa.Column("retried_by", sa.BigInteger))
    op.add_column("kappa_dead_letter", sa.Column("dropped_at", sa.DateTime(timezone=True)))
    place = ["processor", "version", "topic", "partition"]
    op.create_index(
        "kappa_dead_letter_open",
        "kappa_dead_letter",
        [*place, "offset"],
        postgresql_where=sa.text("retry_of IS NULL AND retried_by IS NULL AND dropped_at IS NULL"),
    )
    op.create_index(
        "kappa_dead_letter_copy",
        "kappa_dead_letter",
        [*place, "retry_of"],
        postgresql_where=sa.text("retry_of IS NOT NULL"),
    )
