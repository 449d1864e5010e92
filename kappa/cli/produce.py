"""``kappa produce``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kappa import config
from kappa.cli.output import Json, emit, err, out, table
from kappa.cli.progress import ProgressBar
from kappa.operations.produce import LISTED, Format, Produced, produce


def command(
    topic: Annotated[str, typer.Argument(help="The topic.", show_default=False)],
    file: Annotated[
        Path, typer.Argument(help="The file; - is standard input.", allow_dash=True)
    ] = Path("-"),
    format_: Annotated[
        Format | None,
        typer.Option("--format", help="By default it goes by the file's name; jsonl for a pipe."),
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Pass over records that do not fit, and list the first."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Publish records from JSON lines, CSV or Parquet, checked against the topic's schema.

    A file is checked whole before its first record is published. Of a pipe, the records before
    the first bad line are published. Records get their key from the topic's key column. The
    JSON line {"KEY-COLUMN": …, "@tombstone": true} deletes a key.

    Example: kappa produce orders orders.jsonl
    """
    with ProgressBar("publishing") as bar:
        phase = "publishing"

        def on_progress(what: str, done: int, total: int | None, records: int) -> None:
            nonlocal phase
            if what != phase:
                phase = what
                bar.phase(what)
            bar.update(done, total, count=records)

        result = produce(
            config.load(),
            topic,
            None if str(file) == "-" else file,
            given=format_,
            skip_bad=skip_bad,
            on_progress=on_progress,
        )
    emit(result, as_json=as_json, render=_render)


def _render(result: Produced) -> None:
    for bad in result.bad:
        err().print(f"skipped: {bad}")
    if result.skipped > LISTED:
        err().print(f"skipped: {result.skipped - LISTED:,} more")
    table(
        ["topic", "records", "tombstones", "skipped", "bytes", "seconds", "records/s"],
        [
            (
                result.topic,
                result.records,
                result.tombstones,
                result.skipped,
                result.bytes,
                result.seconds,
                round(result.records_per_second),
            )
        ],
    )
    out().print(f"schema id {result.schema_id}")
