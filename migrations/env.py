"""How Alembic runs kappa's migrations: on a connection it is given, in its transaction."""

from __future__ import annotations

from alembic import context

from kappa.tables import bookkeeping

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=bookkeeping.metadata,
    version_table=bookkeeping.VERSION_TABLE,
)
context.run_migrations()
