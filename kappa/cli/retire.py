"""``kappa retire``."""

from __future__ import annotations

from typing import Annotated

import typer

from kappa import config
from kappa.cli.output import Json, Yes, confirm, emit, out
from kappa.operations.retire import RetiredVersion, check, retire


def command(
    name: Annotated[str, typer.Argument(help="The processor.", show_default=False)],
    version: Annotated[int, typer.Option(min=1, help="The version.", show_default=False)],
    force: Annotated[
        bool, typer.Option("--force", help="Even if it served less than a day ago.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Drop a version's tables for good; its number is never used again.

    Never the version that serves, never what somebody else selects from, and without --force none
    that served less than a day ago, to which a rollback could still go.

    Example: kappa retire revenue --version 1 --yes
    """
    settings = config.load()
    if not yes:
        check(settings, name, version, force=force)
        confirm(
            f"drop the tables of {name} version {version} for good? its number is never used again"
        )
    emit(retire(settings, name, version, force=force), as_json=as_json, render=render)


def render(done: RetiredVersion) -> None:
    """What was dropped."""
    if not done.changed and not done.tables:
        out().print(f"{done.processor} version {done.version} is retired already")
        return
    dropped = ", ".join(done.tables) or "no table"
    out().print(f"{done.processor} version {done.version} is retired: dropped {dropped}")
