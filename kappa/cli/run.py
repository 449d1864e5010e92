"""``kappa run``."""

from __future__ import annotations

from typing import Annotated

import typer

from kappa import config
from kappa.operations.run import DEFAULT_MAX_BATCH, DEFAULT_MAX_DELAY_MS, run


def command(
    names: Annotated[
        list[str] | None, typer.Argument(help="The processors; all if none is named.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Worker processes for each version on this host.")
    ] = 1,
    max_batch: Annotated[
        int, typer.Option(min=1, help="Records between two checkpoints, at most.")
    ] = DEFAULT_MAX_BATCH,
    max_delay: Annotated[
        int,
        typer.Option(min=0, help="Milliseconds until a record is committed, at most."),
    ] = DEFAULT_MAX_DELAY_MS,
    http: Annotated[
        str | None,
        typer.Option(help="Serve /metrics, /healthz and /readyz here: host:port."),
    ] = None,
) -> None:
    """Keep every built version up to date, on this host and any others that run the same.

    A version is followed from the moment it is ready until it is retired, whether it serves or
    stands by. SIGTERM and Ctrl-C finish the batch in hand; a second one ends at once.

    Example: kappa run revenue --workers 2
    """
    settings = config.load()
    run(
        settings,
        frozenset(names or ()),
        workers=workers,
        max_batch=max_batch,
        max_delay_ms=max_delay,
        http=http or settings.telemetry.address or None,
    )
