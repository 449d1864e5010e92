"""Processors, versions, progress, what was served, dead letters, history."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "kappa_processor",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("active_version", sa.Integer),
        sa.Column("epoch", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        _created_at(),
    )
    op.create_table(
        "kappa_version",
        sa.Column("processor", sa.Text, sa.ForeignKey("kappa_processor.name"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("declaration", JSONB, nullable=False),
        sa.Column("reader_schema_id", sa.Integer),
        sa.Column("distribution", sa.Text),
        sa.Column("distribution_version", sa.Text),
        sa.Column("overrides", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
        sa.Column("manifest", JSONB),
        _created_at(),
        sa.Column("ready_at", sa.DateTime(timezone=True)),
        sa.Column("retired_at", sa.DateTime(timezone=True)),
    )
    op.create_table(
        "kappa_offset",
        sa.Column("processor", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("topic_id", sa.Text, nullable=False),
        sa.Column("next_offset", sa.BigInteger, nullable=False),
        sa.Column("start_offset", sa.BigInteger, nullable=False),
        sa.Column("target_offset", sa.BigInteger),
        sa.Column("max_event_time", sa.BigInteger),
        sa.Column("max_record_time", sa.BigInteger),
        sa.Column("epoch", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("owner", sa.Text),
        sa.Column("backend_pid", sa.Integer),
        _counter("records"),
        _counter("late"),
        _counter("dead"),
        _counter("filtered"),
        sa.Column("schema_ids", ARRAY(sa.Integer), nullable=False, server_default=sa.text("'{}'")),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.ForeignKeyConstraint(
            ["processor", "version"], ["kappa_version.processor", "kappa_version.version"]
        ),
        sa.CheckConstraint("next_offset >= start_offset", name="kappa_offset_next"),
        postgresql_with={"fillfactor": 40},
    )
    op.create_table(
        "kappa_served",
        sa.Column("processor", sa.Text, sa.ForeignKey("kappa_processor.name"), primary_key=True),
        sa.Column("topic_id", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("next_offset", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "kappa_dead_letter",
        sa.Column("processor", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("offset", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("timestamp", sa.BigInteger, nullable=False),
        sa.Column("key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        sa.Column("error_class", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("stack", sa.Text),
        _created_at(),
    )
    op.create_table(
        "kappa_history",
        sa.Column("deployment_id", sa.Uuid, primary_key=True),
        sa.Column("processor", sa.Text, sa.ForeignKey("kappa_processor.name"), nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("from_version", sa.Integer),
        sa.Column("to_version", sa.Integer),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("offsets", JSONB, nullable=False),
    )


def _counter(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))


def _created_at() -> sa.Column[object]:
    return sa.Column(
        "created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
    )
