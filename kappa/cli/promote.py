"""``kappa promote``."""

from __future__ import annotations

from typing import Annotated

import typer

from kappa import config
from kappa.cli.output import Json, emit, err, out, table
from kappa.errors import ConfigError
from kappa.operations.promote import (
    Changed,
    Options,
    Persistence,
    PlannedMove,
    plan,
    promote,
)

REFUSED = 4
"""The exit status of a plan that would be refused."""

Timeout = Annotated[
    float, typer.Option(min=0, help="Seconds to go on trying while readers hold a view.")
]
DrainFor = Annotated[
    float,
    typer.Option(
        "--drain",
        min=0,
        help="Seconds the old version may be without input while the new one catches up;"
        " 0 for never.",
    ),
]
IgnoreSnapshots = Annotated[
    bool,
    typer.Option("--ignore-snapshots", help="Do not wait for transactions older than the promote."),
]
Recreate = Annotated[
    bool,
    typer.Option(
        "--recreate",
        help="Drop and make anew views whose columns change, with owner, grants, comments and"
        " the views over them; drop those of side outputs that are gone.",
    ),
]

DropSource = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TOPIC",
        help="A topic the version need not read any more, or not the former one of that name"
        " where it was created again; recorded.",
    ),
]


def command(
    names: Annotated[
        list[str],
        typer.Argument(help="Processors; NAME@2 for version 2.", show_default=False),
    ],
    version: Annotated[
        int | None,
        typer.Option(min=1, help="The version, for one processor; its highest if not given."),
    ] = None,
    only_plan: Annotated[
        bool, typer.Option("--plan", help="Show what would be done, and change nothing.")
    ] = False,
    recreate: Recreate = False,
    drop_source: DropSource = None,
    require_diff: Annotated[
        bool,
        typer.Option("--require-diff", help="Only after a 'kappa diff' with an accepted result."),
    ] = False,
    timeout: Timeout = 30.0,
    drain: DrainFor = 10.0,
    ignore_snapshots: IgnoreSnapshots = False,
    as_json: Json = False,
) -> None:
    """Make built versions the ones that readers of the views see.

    One transaction moves all views, and each only to a version that has read at least as far as
    the one in service: readers never see a gap and never go back in time. A new version that is a
    little behind is waited for; if it never gets ahead, the old one takes no more input meanwhile.

    Example: kappa promote revenue --version 2
    """
    versions = wanted(names, version)
    options = Options(recreate, frozenset(drop_source or ()), ignore_snapshots, require_diff)
    settings = config.load()
    if only_plan:
        planned = plan(settings, versions, options=options)
        emit(planned, as_json=as_json, render=_render_plan)
        if any(move.refusal is not None for move in planned):
            raise typer.Exit(REFUSED)
        return
    done = promote(
        settings,
        versions,
        options=options,
        persistence=persistence(timeout, drain),
        on_wait=waiting,
    )
    emit(done, as_json=as_json, render=render)


def wanted(names: list[str], version: int | None) -> dict[str, int | None]:
    """The version that is wanted of each processor, None for its highest.

    Raises:
        ConfigError: ``--version`` with several names or beside an @, what follows an @ is no
            number, or a processor is named twice.
    """
    if version is not None and len(names) != 1:
        raise ConfigError("--version is for one processor", hint="write NAME@2 for each")
    found: dict[str, int | None] = {}
    for name in names:
        processor, at, number = name.partition("@")
        if at and not (number.isdecimal() and int(number) > 0):
            raise ConfigError(f"{number!r} is no version", hint="write NAME@2")
        if at and version is not None:
            raise ConfigError(f"{name} and --version name a version each", hint="leave one out")
        if processor in found:
            raise ConfigError(f"{processor} is named twice", hint="name it once")
        found[processor] = int(number) if at else version
    return found


def persistence(timeout_s: float, drain_s: float) -> Persistence:
    """How long to go on, from the options of the command."""
    if not drain_s:
        return Persistence(deadline_s=timeout_s, drain_after=None)
    return Persistence(deadline_s=timeout_s, drain_s=drain_s)


def waiting(said: str) -> None:
    """Tells a person why it takes a while."""
    err().print(f"waiting: {said}")


def render(done: Changed) -> None:
    """One line for each processor."""
    for move in done.moves:
        name, version = move.processor, move.to_version
        if not move.changed:
            out().print(f"{name} version {version} is serving already")
            continue
        before = f", version {move.from_version} stands by" if move.from_version else ""
        out().print(f"{name} version {version} is serving{before}")


def _render_plan(moves: tuple[PlannedMove, ...]) -> None:
    for move in moves:
        before = f" in place of {move.from_version}" if move.from_version else ""
        out().print(f"{move.processor} version {move.to_version}", style="bold", end="")
        out().print(before)
        if not move.changes:
            out().print("it is serving already")
            continue
        if move.refusal is not None:
            err().print("refused: ", style="red", end="")
            err().print(move.refusal)
            if move.hint:
                err().print(f"hint: {move.hint}")
        for said in move.waits:
            out().print(f"would wait: {said}")
        table(
            ("topic", "partition", "old", "new", "served", "behind"),
            (
                (at.topic, at.partition, at.from_offset, at.to_offset, at.served, at.behind)
                for at in move.partitions
            ),
        )
        for statement in move.statements:
            out().print(f"{statement};")
        for view in move.dependents:
            out().print(f"{view} selects from it, and will see the new version")
