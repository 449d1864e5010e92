"""``kappa rollback``."""

from __future__ import annotations

from typing import Annotated

import typer

from kappa import config
from kappa.cli.output import Json, emit
from kappa.cli.promote import (
    DrainFor,
    DropSource,
    IgnoreSnapshots,
    Recreate,
    Timeout,
    persistence,
    render,
    waiting,
)
from kappa.operations.promote import Options, rollback


def command(
    names: Annotated[list[str], typer.Argument(help="Processors.", show_default=False)],
    recreate: Recreate = False,
    drop_source: DropSource = None,
    timeout: Timeout = 30.0,
    drain: DrainFor = 10.0,
    ignore_snapshots: IgnoreSnapshots = False,
    as_json: Json = False,
) -> None:
    """Make the versions that served before the ones that readers see again.

    It is a promote with the roles swapped, under the same rules: refused while the former version
    is behind what readers have seen. 'kappa run' keeps it up to date as long as it stands by.

    Example: kappa rollback revenue
    """
    done = rollback(
        config.load(),
        tuple(dict.fromkeys(names)),
        options=Options(recreate, frozenset(drop_source or ()), ignore_snapshots),
        persistence=persistence(timeout, drain),
        on_wait=waiting,
    )
    emit(done, as_json=as_json, render=render)
