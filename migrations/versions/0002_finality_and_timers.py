"""When windows are final, how often that was corrected, and dead letters of timers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "kappa_finality",
        sa.Column("processor", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("final_through", sa.DateTime(timezone=True), nullable=False),
        sa.Column("corrections", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.ForeignKeyConstraint(
            ["processor", "version"], ["kappa_version.processor", "kappa_version.version"]
        ),
    )
    op.add_column(
        "kappa_dead_letter",
        sa.Column("index", sa.Integer, nullable=False, server_default=sa.text("0")),
    )
    op.add_column("kappa_dead_letter", sa.Column("timer", sa.Text))
    op.drop_constraint("kappa_dead_letter_pkey", "kappa_dead_letter")
    op.create_primary_key(
        "kappa_dead_letter_pkey",
        "kappa_dead_letter",
        ["processor", "version", "topic", "partition", "offset", "index"],
    )
