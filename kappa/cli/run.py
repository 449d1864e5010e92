"""``kappa run``."""

from __future__ import annotations

import sys
from enum import Enum
from typing import Annotated

import typer

from kappa import config
from kappa.operations.run import DEFAULT_MAX_BATCH, DEFAULT_MAX_DELAY_MS, run
from kappa.telemetry.logs import configure_logs


class LogForm(Enum):
    CONSOLE = "console"
    JSON = "json"


def _suitable() -> LogForm:
    return LogForm.CONSOLE if sys.stderr.isatty() else LogForm.JSON


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
        typer.Option(help="Serve /metrics, /healthz and /readyz at this host:port."),
    ] = None,
    logs: Annotated[
        LogForm | None,
        typer.Option(help="Log for people or for machines; people if on a terminal."),
    ] = None,
) -> None:
    """Keep every built version up to date, on this host and any others that run the same.

    A version is followed from the moment it is ready until it is retired, whether it serves or
    stands by. SIGTERM and Ctrl-C finish the batch in hand; a second one ends at once.

    Example: kappa run revenue --workers 2
    """
    settings = config.load()
    configure_logs((logs or _suitable()).value)
    run(
        settings,
        frozenset(names or ()),
        workers=workers,
        max_batch=max_batch,
        max_delay_ms=max_delay,
        http=http,
    )
