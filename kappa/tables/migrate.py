"""Brings kappa's own tables up to date, with the migrations shipped beside the package."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, func, select

from kappa.tables import bookkeeping

_LOCK = 0x6B61707061
"""The advisory lock of migrations ("kappa" in ASCII)."""


def upgrade(engine: Engine) -> tuple[str, ...]:
    """Runs the migrations that are missing, all in one transaction; returns their revisions.

    Two at once are safe: the second waits, then finds nothing to do.

    Raises:
        MigrationNeeded: the tables were made by a newer kappa.
    """
    with engine.begin() as conn:
        conn.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        missing = pending(conn)
        if missing:
            config = _config()
            config.attributes["connection"] = conn
            command.upgrade(config, "head")
        bookkeeping.require_current(conn)
    return missing


def pending(conn: Connection) -> tuple[str, ...]:
    """The revisions that would be run here, oldest first."""
    found = bookkeeping.revision(conn)
    scripts = ScriptDirectory.from_config(_config())
    revisions = [script.revision for script in scripts.walk_revisions()]
    return tuple(sorted(r for r in revisions if found is None or r > found))


def _config() -> Config:
    package = Path(__file__).resolve().parent.parent
    shipped = package / "migrations"
    config = Config()
    directory = shipped if shipped.is_dir() else package.parent / "migrations"
    config.set_main_option("script_location", str(directory).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
