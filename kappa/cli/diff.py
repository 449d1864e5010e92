"""``kappa diff``."""

from __future__ import annotations

from typing import Annotated

import typer

from kappa import config
from kappa.cli.output import Json, emit, out, table
from kappa.operations.amounts import percent, seconds_of, share_of
from kappa.operations.diff import (
    Allowance,
    Comparison,
    OutputDifference,
    diff,
    require_accepted,
)


def command(
    name: Annotated[str, typer.Argument(help="The processor.", show_default=False)],
    from_version: Annotated[
        int | None,
        typer.Option("--from", min=1, help="The older version; the one in service if not given."),
    ] = None,
    to_version: Annotated[
        int | None,
        typer.Option("--to", min=1, help="The newer one; the highest built if not given."),
    ] = None,
    max_diff: Annotated[
        str,
        typer.Option(
            metavar="SHARE",
            help="The share of rows that may differ: 0.1%. No column and no output may be gone or"
            " be of another type.",
        ),
    ] = "0%",
    expect_diff: Annotated[
        bool, typer.Option("--expect-diff", help="Accept whatever differs or is gone.")
    ] = False,
    samples: Annotated[
        int, typer.Option(min=0, help="Rows to show of each kind of difference, at most.")
    ] = 10,
    timeout: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="How long the version that is behind may take to the other's offsets.",
        ),
    ] = "60s",
    as_json: Json = False,
) -> None:
    """Compare what readers would see of two versions, both at the same offsets.

    The one that is ahead stops until the other is there too; then both go on, and are compared as
    they were at that moment. The result is stored: a promote can ask for it.

    Example: kappa diff revenue --max-diff 0.1%
    """
    allowance = Allowance(share_of(max_diff), expect_diff)
    found = diff(
        config.load(),
        name,
        from_version,
        to_version,
        allowance=allowance,
        most_samples=samples,
        timeout_s=seconds_of(timeout),
    )
    emit(found, as_json=as_json, render=_render)
    require_accepted(found, allowance)


def _render(found: Comparison) -> None:
    before, after = found.from_version, found.to_version
    versions = f"{found.processor}: version {before} and version {after}"
    out().print(versions, style="bold", end="")
    places = ", ".join(f"{at.topic}/{at.partition}: {at.next_offset:,}" for at in found.offsets)
    out().print(f" at the same offsets ({places})")
    table(
        ["output", f"v{before} rows", f"v{after} rows", "changed", f"only v{before}",
         f"only v{after}", "differ"],
        [
            (one.output, one.rows_before, one.rows_after, one.changed, one.only_before,
             one.only_after, percent(one.rate))
            for one in found.outputs
        ],
    )  # fmt: skip
    counts = [("late", found.counts_before.late, found.counts_after.late),
              ("dead letters", found.counts_before.dead, found.counts_after.dead)]  # fmt: skip
    table(["records", f"v{before}", f"v{after}"], counts)
    for output in found.outputs:
        _render_output(output, before, after)
    for word, names in (("removed", found.removed), ("added", found.added)):
        if names:
            out().print(f"side outputs {word}: {', '.join(names)}")
    if found.accepted:
        out().print("accepted", style="green")


def _render_output(output: OutputDifference, before: int, after: int) -> None:
    title = f"{output.output}: "
    for word, names in (("removed", output.removed), ("added", output.added)):
        if names:
            out().print(f"{title}columns {word}: {', '.join(names)}")
    for one in output.retyped:
        out().print(f"{title}column {one.column} was {one.before}, is {one.after}")
    if not output.matched_by:
        out().print(f"{title}other keys, so rows are matched by all they show")
    changed = [one for one in output.columns if one.changed]
    if changed:
        table(
            ["column", "changed", "of the rows in both"],
            [(one.column, one.changed, percent(one.rate)) for one in changed],
        )
    rows = [
        (
            sample.kind.replace("only_before", f"only v{before}").replace(
                "only_after", f"only v{after}"
            ),
            _pairs(sample.key),
            _pairs(sample.before),
            _pairs(sample.after),
        )
        for sample in output.samples
    ]
    if rows:
        table([output.output, "key", f"v{before}", f"v{after}"], rows)


def _pairs(values: dict[str, str | None] | None) -> str | None:
    if values is None:
        return None
    shown = ((name, "NULL" if value is None else value) for name, value in values.items())
    return " ".join(f"{name}={value}" for name, value in shown)
