"""``kappa replay``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.filesize import decimal

from kappa import config
from kappa.cli.output import Json, emit, err, out, table
from kappa.cli.progress import ProgressBar
from kappa.operations.replay import (
    DEFAULT_BATCH_SIZE,
    DryRun,
    PlannedReplay,
    Replayed,
    plan_replay,
    replay,
)

REFUSED = 4
"""The exit status of a dry run whose replay would be refused."""


def command(
    name: Annotated[str, typer.Argument(help="The processor.", show_default=False)],
    version: Annotated[
        int | None, typer.Option(help="Its version; the highest installed one if not given.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Records between two checkpoints, at most.")
    ] = DEFAULT_BATCH_SIZE,
    rate_limit: Annotated[
        float | None,
        typer.Option(min=1, help="Records per second, so that live work is not starved."),
    ] = None,
    join: Annotated[
        bool,
        typer.Option("--join", help="Share the replay with every other process that joins it."),
    ] = False,
    allow_truncated: Annotated[
        bool,
        typer.Option(help="Build although history is incomplete; recorded for good."),
    ] = False,
    allow_derived: Annotated[
        bool,
        typer.Option(help="Build from the output of another processor; recorded for good."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what would be read, what it takes and what speaks against it; write nothing.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Rebuild a version of a processor from all of history, beside the one in service.

    Readers notice nothing: only 'kappa promote' moves the view. A replay that was cut short
    goes on where it stopped; one of a built version catches up with the end of the log.

    Example: kappa replay revenue --version 2 --workers 2
    """
    if join and workers > 1:
        raise typer.BadParameter("with --join, start the command once for each worker")
    settings = config.load()
    if dry_run:
        planned = plan_replay(
            settings,
            name,
            version,
            allow_truncated=allow_truncated,
            allow_derived=allow_derived,
        )
        emit(planned, as_json=as_json, render=_render_plan)
        if planned.plan.refusals:
            raise typer.Exit(REFUSED)
        return
    with ProgressBar("replaying") as bar:
        done, total = 0, 0

        def on_plan(planned: PlannedReplay) -> None:
            nonlocal total
            total = planned.records
            _warn(planned.overridden)

        def on_progress(offsets: int) -> None:
            nonlocal done
            done += offsets
            bar.update(done, total)

        result = replay(
            settings,
            name,
            version,
            workers=workers,
            batch_size=batch_size,
            allow_truncated=allow_truncated,
            rate_limit=rate_limit,
            shared=join,
            allow_derived=allow_derived,
            on_plan=on_plan,
            on_progress=on_progress,
        )
    _warn(result.warnings)
    emit(result, as_json=as_json, render=_render)


def _render_plan(dry: DryRun) -> None:
    planned = dry.plan
    out().print(
        f"would replay {planned.processor} version {planned.version} ({planned.state})"
        f" from {planned.topic}: {planned.records:,} records at most"
    )
    table(
        ["partition", "from", "to"],
        [(str(p["partition"]), p["start"], p["end"]) for p in planned.partitions],
    )
    lines = {
        "to read": None if dry.bytes is None else decimal(dry.bytes),
        "takes about": None if dry.seconds is None else f"{dry.seconds:,.1f} s",
        "on disk about": None if dry.disk_bytes is None else decimal(dry.disk_bytes),
        "schema ids": ", ".join(map(str, dry.schema_ids)),
    }
    for name, value in lines.items():
        out().print(f"{name:14}{value or 'not known yet'}")
    for refusal in planned.refusals:
        err().print(f"would be refused: {refusal.message}")
        err().print(f"hint: {refusal.hint}")
    _warn((*planned.overridden, *planned.warnings))


def _render(result: Replayed) -> None:
    out().print(f"{result.processor} version {result.version} is {result.state}")
    table(
        ["records", "rows", "late", "dead", "filtered", "seconds", "records/s"],
        [
            (
                result.records,
                result.rows,
                result.late,
                result.dead,
                result.filtered,
                result.seconds,
                round(result.records_per_second),
            )
        ],
    )


def _warn(lines: tuple[str, ...]) -> None:
    for line in lines:
        err().print(f"warning: {line}")
