"""The timeline of every version, holds, and what comparisons of versions found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column(
        "kappa_version",
        sa.Column("accepted", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
    )
    op.add_column("kappa_version", sa.Column("drains_until", sa.DateTime(timezone=True)))
    op.add_column(
        "kappa_history",
        sa.Column("detail", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    )
    op.drop_constraint("kappa_history_pkey", "kappa_history")
    op.create_primary_key("kappa_history_pkey", "kappa_history", ["deployment_id", "processor"])
    op.create_table(
        "kappa_transition",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("processor", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("from_state", sa.Text),
        sa.Column("to_state", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("deployment_id", sa.Uuid),
        sa.Column("detail", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("offsets", JSONB, nullable=False),
        sa.ForeignKeyConstraint(
            ["processor", "version"], ["kappa_version.processor", "kappa_version.version"]
        ),
    )
    op.create_index("kappa_transition_of_version", "kappa_transition", ["processor", "version"])
    # Timelines begin now: what is known of versions there are is where they stand.
    op.execute(
        """
        INSERT INTO kappa_transition (processor, version, to_state, who, offsets)
        SELECT processor, version, state, 'kappa db upgrade', (
            SELECT coalesce(jsonb_agg(jsonb_build_object(
                'topic', topic, 'topic_id', topic_id, 'partition', partition,
                'from', start_offset, 'to', next_offset) ORDER BY topic, partition), '[]')
            FROM kappa_offset AS o WHERE o.processor = v.processor AND o.version = v.version)
        FROM kappa_version AS v ORDER BY created_at
        """
    )
    op.create_table(
        "kappa_hold",
        sa.Column("processor", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("until_offset", sa.BigInteger, nullable=False),
        sa.Column("held_by", sa.Uuid, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["processor", "version"], ["kappa_version.processor", "kappa_version.version"]
        ),
    )
    op.create_table(
        "kappa_diff",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("processor", sa.Text, nullable=False),
        sa.Column("from_version", sa.Integer, nullable=False),
        sa.Column("to_version", sa.Integer, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("accepted", sa.Boolean, nullable=False),
        sa.Column("offsets", JSONB, nullable=False),
        sa.Column("result", JSONB, nullable=False),
        sa.ForeignKeyConstraint(
            ["processor", "from_version"], ["kappa_version.processor", "kappa_version.version"]
        ),
        sa.ForeignKeyConstraint(
            ["processor", "to_version"], ["kappa_version.processor", "kappa_version.version"]
        ),
    )
    op.create_index("kappa_diff_of_versions", "kappa_diff", ["processor", "to_version", "at"])
