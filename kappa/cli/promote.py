"""``kappa promote``."""

from __future__ import annotations

from typing import Annotated

import typer

from kappa import config
from kappa.cli.output import Json, emit, out
from kappa.operations.promote import PromotedVersion, promote


def command(
    name: Annotated[str, typer.Argument(help="The processor.", show_default=False)],
    version: Annotated[
        int | None, typer.Option(help="Its version; the highest built one if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a built version the one that readers of the view see.

    One transaction moves the view, and only to a version that has read at least as far as the
    one in service: readers never see a gap and never go back in time.

    Example: kappa promote revenue --version 2
    """
    emit(promote(config.load(), name, version), as_json=as_json, render=_render)


def _render(done: PromotedVersion) -> None:
    if not done.changed:
        out().print(f"{done.processor} version {done.to_version} is serving already")
        return
    before = f", version {done.from_version} stands by" if done.from_version else ""
    out().print(f"{done.processor} version {done.to_version} is serving{before}")
