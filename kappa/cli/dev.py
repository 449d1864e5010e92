"""``kappa dev``: Kafka and PostgreSQL on this machine, for development."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated

import typer

from kappa.cli.output import Json, Yes, confirm, emit, err, out, plain, table
from kappa.operations import dev as operations
from kappa.operations.dev import Down, Reset, ServerStatus, Status, Up

app = typer.Typer(
    name="dev",
    help="A real Kafka and a real PostgreSQL on this machine, for development.",
    no_args_is_help=True,
    add_completion=False,
)


class ServerName(StrEnum):
    """The servers of the stack."""

    kafka = "kafka"
    postgres = "postgres"


@app.command(epilog="Example: kappa dev up")
def up(as_json: Json = False) -> None:
    """Start Kafka and PostgreSQL and wait until both answer.

    Their data is in .kappa/, and every kappa command run here finds them by itself. The first
    time, the jars of Kafka are fetched into your cache. What runs already is left alone.
    """
    with _progress() as report:
        result = operations.up(report)
    emit(result, as_json=as_json, render=_render_up)


@app.command(epilog="Example: kappa dev down")
def down(as_json: Json = False) -> None:
    """Stop both servers. Their data stays."""
    with _progress() as report:
        result = operations.down(report)
    emit(result, as_json=as_json, render=_render_down)


@app.command(epilog="Example: kappa dev status --json")
def status(as_json: Json = False) -> None:
    """Show whether the servers run, where, and how much they hold."""
    emit(operations.status(), as_json=as_json, render=_render_status)


@app.command(epilog="Example: kappa dev reset --yes")
def reset(yes: Yes = False, as_json: Json = False) -> None:
    """Stop both servers and delete all their data."""
    if not yes:
        confirm(f"Delete every topic and table in {operations.status().directory}?")
    with _progress() as report:
        result = operations.reset(report)
    emit(result, as_json=as_json, render=_render_reset)


@app.command(epilog="Example: kappa dev logs kafka --follow")
def logs(
    server: Annotated[
        ServerName | None, typer.Argument(help="One of them; both if left out.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of each.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Show what the servers logged last."""
    console = out()
    for line in operations.logs(server.value if server else None, lines, follow=follow):
        if as_json:
            print(json.dumps(plain(line), ensure_ascii=False), flush=True)
        elif server:
            console.print(line.text)
        else:
            console.print(f"{line.server:8} | {line.text}")


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """What is going on, on stderr: a spinner on a terminal, else a line each."""
    console = err()
    if not console.is_terminal:
        yield lambda message: console.print(message)
        return
    with console.status("") as spinner:

        def report(message: str) -> None:
            spinner.update(message)
            console.print(message, style="dim")

        yield report


def _render_up(result: Up) -> None:
    _servers(result.servers)
    if result.started:
        out().print(f"Started {' and '.join(result.started)} in {result.seconds:.1f} s.")
    else:
        out().print("Both were already running.")


def _render_down(result: Down) -> None:
    what = " and ".join(result.stopped)
    out().print(f"Stopped {what}. The data is kept." if what else "Nothing was running.")


def _render_status(result: Status) -> None:
    _servers(result.servers)
    if not all(server.running for server in result.servers):
        out().print("'kappa dev up' starts what is down.")


def _render_reset(result: Reset) -> None:
    out().print(f"Deleted {_megabytes(result.freed_bytes)} in {result.directory}.", soft_wrap=True)


def _servers(servers: tuple[ServerStatus, ...]) -> None:
    table(
        ["server", "state", "version", "pid", "data"],
        [
            [s.name, _state(s), s.version, str(s.pid or "-"), _megabytes(s.size_bytes)]
            for s in servers
        ],
    )
    out().print()
    for server in servers:  # on a line of its own, to be copied
        out().print(f"{server.name:8}  {server.endpoint or '-'}", soft_wrap=True)
    out().print()


def _state(server: ServerStatus) -> str:
    if not server.running:
        return "down"
    return "running" if server.answers else "not answering"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"
