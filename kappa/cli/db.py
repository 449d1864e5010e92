"""``kappa db``: kappa's own tables in PostgreSQL."""

from __future__ import annotations

import typer

from kappa.cli.output import Json, emit, err, out
from kappa.config import load
from kappa.operations import db as operations
from kappa.operations.db import Current, Upgraded

app = typer.Typer(
    name="db",
    help="kappa's own tables in PostgreSQL: processors, versions, progress.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command(epilog="Example: kappa db upgrade")
def upgrade(as_json: Json = False) -> None:
    """Create kappa's own tables, or bring them up to date.

    Run it once per database, and again after kappa was upgraded. Your tables stay as they are.
    """
    emit(operations.upgrade(load()), as_json=as_json, render=_render_upgraded)


@app.command(epilog="Example: kappa db current")
def current(as_json: Json = False) -> None:
    """Show which migration the database is at, and which ones are missing."""
    emit(operations.current(load()), as_json=as_json, render=_render_current)


def _render_upgraded(done: Upgraded) -> None:
    if done.applied:
        out().print(f"upgraded to {done.revision} ({', '.join(done.applied)})")
    else:
        out().print(f"up to date at {done.revision}")


def _render_current(found: Current) -> None:
    out().print(f"at {found.revision or 'nothing yet'}, needed {found.needed}")
    if found.pending:
        err().print(f"hint: 'kappa db upgrade' would run {', '.join(found.pending)}")
