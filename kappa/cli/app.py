"""Puts the commands together and turns errors into exit codes."""

from __future__ import annotations

import sys

import typer

from kappa.cli import db, dev, processors, produce, replay, schemas, topics
from kappa.cli.output import print_error
from kappa.errors import KappaError

app = typer.Typer(
    name="kappa",
    help="Keep history in Kafka, rebuild any table by replay, switch versions atomically.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

app.add_typer(dev.app)
app.add_typer(schemas.app)
app.add_typer(topics.app)
app.command("produce")(produce.command)
app.add_typer(processors.app)
app.command("replay")(replay.command)
app.add_typer(db.app)


def main() -> None:
    """The console script. Exit codes are listed in docs/commands.md."""
    try:
        app()
    except KappaError as error:
        print_error(error, as_json="--json" in sys.argv)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
