"""``kappa abort``."""

from __future__ import annotations

from typing import Annotated

import typer

from kappa import config
from kappa.cli.output import Json, Yes, confirm, emit
from kappa.cli.retire import render
from kappa.operations.retire import abort, check


def command(
    name: Annotated[str, typer.Argument(help="The processor.", show_default=False)],
    version: Annotated[
        int | None, typer.Option(min=1, help="The version; the one being built if not given.")
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Give up a build: drop the tables of a version that was never built to its end.

    A replay that is still at work on it ends with an error. The number is never used again.

    Example: kappa abort revenue --yes
    """
    settings = config.load()
    if not yes:
        version = check(settings, name, version, force=None)
        confirm(
            f"give up version {version} of {name} and drop its tables? its number is never used"
            " again"
        )
    emit(abort(settings, name, version), as_json=as_json, render=render)
