"""``kappa verify``."""

from __future__ import annotations

from typing import Annotated

import typer

from kappa import config
from kappa.cli.output import Json, emit, out, table
from kappa.cli.progress import ProgressBar
from kappa.operations.verify import Verified, require_repeated, verify


def command(
    name: Annotated[str, typer.Argument(help="The processor.", show_default=False)],
    version: Annotated[
        int | None, typer.Option(min=1, help="Its version; the one in service if not given.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Worker processes; other than the build's if not given."),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Records between two checkpoints; other than the build's if not given."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Replay a version once more, beside its tables, and compare what comes out.

    It goes by the offsets at which the version stands, in batches and by workers of other numbers
    than the build, in a schema of its own that is dropped again. Nobody waits, nothing is changed,
    and nothing leaves for other systems.

    Example: kappa verify revenue
    """
    with ProgressBar("verifying") as bar:
        done, total = 0, 0

        def on_plan(offsets: int) -> None:
            nonlocal total
            total = offsets

        def on_progress(offsets: int) -> None:
            nonlocal done
            done += offsets
            bar.update(done, total)

        found = verify(
            config.load(),
            name,
            version,
            workers=workers,
            batch_size=batch_size,
            on_plan=on_plan,
            on_progress=on_progress,
        )
    emit(found, as_json=as_json, render=_render)
    require_repeated(found)


def _render(found: Verified) -> None:
    workers = "a worker" if found.workers == 1 else f"{found.workers} workers"
    out().print(
        f"{found.processor} version {found.version}: {found.records:,} records replayed by"
        f" {workers}, {found.batch_size:,} at a time, in {found.seconds:.1f} s"
    )
    table(
        ["output", "rows", "again", "equal"],
        [(part.output, part.rows, part.rows_again, part.equal) for part in found.parts],
    )
    if found.as_built is not None:
        out().print(f"as its build left it: {'yes' if found.as_built else 'no'}")
