"""``kappa dlq``: what could not be processed, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kappa import config
from kappa.cli.dlq_output import (
    render_checked,
    render_dropped,
    render_exported,
    render_list,
    render_retried,
    render_shown,
)
from kappa.cli.output import Json, Yes, confirm, emit
from kappa.cli.progress import ProgressBar
from kappa.errors import ConfigError
from kappa.operations import dlq as operations
from kappa.operations.dlq_check import check as run_check
from kappa.operations.dlq_export import export as write_export
from kappa.operations.dlq_retry import retry as send_retry

app = typer.Typer(
    name="dlq",
    help="Dead letters: records that could not be processed.",
    no_args_is_help=True,
    add_completion=False,
)

Name = Annotated[str, typer.Argument(help="The processor.", metavar="NAME")]
Version = Annotated[
    int | None,
    typer.Option(
        "--version", min=1, help="Whose letters; by default the serving one, else the highest."
    ),
]
ErrorClass = Annotated[
    str | None,
    typer.Option("--error-class", metavar="CLASS", help="Only those of this class."),
]
Places = Annotated[
    list[str] | None,
    typer.Argument(help="Where they lie: TOPIC/PARTITION/OFFSET.", metavar="[PLACE]..."),
]


@app.command("list", epilog="Example: kappa dlq list revenue")
def list_(
    name: Name,
    version: Version = None,
    error_class: ErrorClass = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="How many of the newest.")] = 20,
    as_json: Json = False,
) -> None:
    """Count the dead letters of a version by error class, and list the newest."""
    found = operations.list_letters(
        config.load(), name, version, error_class=error_class, limit=limit
    )
    emit(found, as_json=as_json, render=render_list)


@app.command(epilog="Example: kappa dlq show revenue orders/0/1042")
def show(
    name: Name,
    place: Annotated[str, typer.Argument(help="TOPIC/PARTITION/OFFSET.", metavar="PLACE")],
    version: Version = None,
    as_json: Json = False,
) -> None:
    """Show a dead letter whole: its reason, its stack and its bytes."""
    emit(operations.show(config.load(), name, version, place), as_json=as_json, render=render_shown)


@app.command(epilog="Example: kappa dlq export revenue letters.jsonl")
def export(
    name: Name,
    file: Annotated[Path, typer.Argument(help="A file that does not exist yet.", metavar="FILE")],
    version: Version = None,
    error_class: ErrorClass = None,
    as_json: Json = False,
) -> None:
    """Write dead letters to a file, one JSON object a line, keys and values in base64."""
    done = write_export(config.load(), name, version, file, error_class=error_class)
    emit(done, as_json=as_json, render=render_exported)


@app.command(epilog="Example: kappa dlq drop revenue --error-class Refused --yes")
def drop(
    name: Name,
    places: Places = None,
    version: Version = None,
    error_class: ErrorClass = None,
    every: Annotated[bool, typer.Option("--all", help="All letters of the version.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Give dead letters up: erase their keys and values, for good.

    They no longer count against the processor's limit. That their records were dead letters
    stays known.
    """
    ways = [bool(places), error_class is not None, every]
    if sum(ways) != 1:
        raise ConfigError(
            "it is not clear which letters to drop",
            hint="name their places, or an --error-class, or --all",
        )
    if not yes:
        confirm(f"Erase the bytes of dead letters of {name} for good?")
    done = operations.drop(
        config.load(), name, version, places=places or (), error_class=error_class
    )
    emit(done, as_json=as_json, render=render_dropped)


@app.command(epilog="Example: kappa dlq check revenue --version 2")
def check(
    name: Name,
    version: Annotated[
        int | None,
        typer.Option("--version", min=1, help="Run through this one; the highest installed."),
    ] = None,
    letters_of: Annotated[
        int | None,
        typer.Option(
            "--letters-of",
            min=1,
            metavar="VERSION",
            help="Whose letters; by default the serving one's, else the highest built one's.",
        ),
    ] = None,
    error_class: ErrorClass = None,
    as_json: Json = False,
) -> None:
    """Run the open dead letters through a version, without writing anything.

    Through another version they go as its replay would meet them; through their own as copies
    sent now, as by a retry.
    """
    with ProgressBar("checking", "letters") as bar:
        done = run_check(
            config.load(),
            name,
            version,
            letters_of=letters_of,
            error_class=error_class,
            on_progress=bar.update,
        )
    emit(done, as_json=as_json, render=render_checked)


@app.command(epilog="Example: kappa dlq retry revenue orders/0/1042")
def retry(
    name: Name,
    places: Places = None,
    version: Version = None,
    error_class: ErrorClass = None,
    as_json: Json = False,
) -> None:
    """Publish the records of open dead letters again, each to its own partition.

    Every version that has the original as an open dead letter takes the copy in its place, once;
    the others leave it out. Without places all open letters are retried.
    """
    if places and error_class is not None:
        raise ConfigError("places and --error-class do not go together", hint="use one of them")
    done = send_retry(config.load(), name, version, places=places or (), error_class=error_class)
    emit(done, as_json=as_json, render=render_retried)
