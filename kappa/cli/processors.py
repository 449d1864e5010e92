"""``kappa processors``: what is installed."""

from __future__ import annotations

import typer

from kappa.cli.output import Json, emit, err, out, table
from kappa.operations.processors import InstalledProcessor, list_processors

app = typer.Typer(
    name="processors",
    help="Processors that installed distributions announce.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the installed processors and their versions.

    Reads metadata only; no plugin code runs.

    Example: kappa processors list
    """
    emit(list_processors(), as_json=as_json, render=_render)


def _render(processors: tuple[InstalledProcessor, ...]) -> None:
    if not processors:
        out().print("no processors are installed")
        err().print("hint: a plugin announces them under the entry-point group kappa.processors")
        return
    table(
        ["processor", "version", "distribution", "declared in", "problem"],
        [
            (
                p.name,
                p.version or None,
                f"{p.distribution} {p.distribution_version}",
                p.declared_in,
                p.problem,
            )
            for p in processors
        ],
    )
