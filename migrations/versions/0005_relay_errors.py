"""What keeps an output from being sent, for people to see."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("kappa_relay", sa.Column("last_error", JSONB))
    op.add_column("kappa_relay", sa.Column("last_error_at", sa.DateTime(timezone=True)))
