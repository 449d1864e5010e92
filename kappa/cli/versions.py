"""``kappa versions``: what became of each version."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated

import typer

from kappa import config
from kappa.cli.output import Json, emit, out, table
from kappa.operations import versions as operations
from kappa.operations.versions import Accepted, ShownVersion, TimelineStep

app = typer.Typer(
    name="versions",
    help="Versions of a processor: their timeline, manifest and identity.",
    no_args_is_help=True,
    add_completion=False,
)

Name = Annotated[str, typer.Argument(help="The processor.", metavar="NAME")]
Number = Annotated[int, typer.Argument(help="The version.", metavar="VERSION", min=1)]


@app.command("list", epilog="Example: kappa versions list revenue")
def list_(name: Name, as_json: Json = False) -> None:
    """Show every step of every version of a processor, the oldest first."""
    emit(operations.list_steps(config.load(), name), as_json=as_json, render=_render_steps)


@app.command(epilog="Example: kappa versions show revenue 2")
def show(name: Name, version: Number, as_json: Json = False) -> None:
    """Show all that is recorded of a version: code, manifest, overrides, timeline."""
    emit(operations.show(config.load(), name, version), as_json=as_json, render=_render_version)


@app.command(epilog="Example: kappa versions accept revenue 2 --reason 'a function was renamed'")
def accept(
    name: Name,
    version: Number,
    reason: Annotated[str, typer.Option(help="Why no result changes; recorded for good.")],
    as_json: Json = False,
) -> None:
    """Let changed code go on under the same number.

    Only for changes that change no result: rows written so far stay as they are. If in doubt,
    declare a new version and replay it; 'kappa verify' shows whether you were right.
    """
    done = operations.accept(config.load(), name, version, reason)
    emit(done, as_json=as_json, render=_render_accepted)


def _render_steps(steps: Iterable[TimelineStep]) -> None:
    table(
        ("at", "version", "state", "read", "who", "why"),
        (
            (
                f"{step.at:%Y-%m-%d %H:%M:%S}",
                step.version,
                step.to_state
                if step.from_state is None
                else f"{step.from_state} → {step.to_state}",
                step.read,
                step.who,
                ", ".join(f"{name}: {value}" for name, value in step.detail.items()),
            )
            for step in steps
        ),
    )


def _render_version(version: ShownVersion) -> None:
    lines = {
        "processor": version.processor,
        "version": version.version,
        "state": version.state,
        "fingerprint": version.fingerprint,
        "declared in": version.declared_in,
        "distribution": f"{version.distribution} {version.distribution_version}"
        if version.distribution
        else "-",
        "overridden": "; ".join(version.overrides) or "-",
        "accepted": "; ".join(str(one["reason"]) for one in version.accepted) or "-",
    }
    for name, value in (version.manifest or {}).items():
        if name != "offsets":
            lines[name.replace("_", " ")] = value if isinstance(value, str) else json.dumps(value)
    for name, value in lines.items():
        out().print(f"{name:14}{value}")
    if version.manifest:
        out().print()
        table(
            ("topic", "partition", "from", "to", "topic id"),
            (
                (at["topic"], at["partition"], at["from"], at["to"], at["topic_id"])
                for at in version.manifest["offsets"]
            ),
        )
    out().print()
    _render_steps(version.timeline)


def _render_accepted(done: Accepted) -> None:
    if done.changed:
        out().print(f"{done.processor} version {done.version} goes on with the installed code")
    else:
        out().print(f"{done.processor} version {done.version} is what is installed already")
