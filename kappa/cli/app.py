"""Puts the commands together and turns errors into exit codes."""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from kappa.cli.output import print_error
from kappa.errors import KappaError


class Commands(TyperGroup):
    """The commands by name, each in the module of that name.

    A module is imported when its command is asked for: what a command needs, such as Kafka's
    and PostgreSQL's clients, takes longer to import than most commands take to run.
    """

    NAMES: ClassVar[tuple[str, ...]] = (
        "dev",
        "db",
        "schemas",
        "topics",
        "produce",
        "processors",
        "replay",
        "run",
        "diff",
        "verify",
        "promote",
        "rollback",
        "versions",
        "retire",
        "abort",
        "dlq",
        "status",
        "doctor",
    )

    # Typer carries a Click of its own whose types it does not export.
    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.NAMES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.NAMES:
            return None
        module = _imported(f"kappa.cli.{cmd_name}")
        group: typer.Typer | None = getattr(module, "app", None)
        if group is not None:
            command: Any = get_group(group)
        else:
            single = typer.Typer(add_completion=False)
            single.command(cmd_name)(module.command)
            command = get_command(single)
        command.name = cmd_name
        return command


def _imported(name: str) -> ModuleType:
    """A module and all it needs, none of which is ever garbage.

    To look for garbage in what is just being imported, and in all of it again when the process
    ends, takes as long as a fifth of the imports.
    """
    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.freeze()
        gc.enable()


app = typer.Typer(
    name="kappa",
    cls=Commands,
    help="Keep history in Kafka, rebuild any table by replay, switch versions atomically.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root() -> None:
    """Keep history in Kafka, rebuild any table by replay, switch versions atomically."""


def main() -> None:
    """The console script. Exit codes are listed in docs/commands.md."""
    try:
        app()
    except KappaError as error:
        print_error(error, as_json="--json" in sys.argv)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
