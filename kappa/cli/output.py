"""How every command prints: a table for people, JSON for machines, errors on stderr."""

from __future__ import annotations

import base64
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

from kappa.errors import KappaError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]

R = TypeVar("R")

_PIPE_WIDTH = 1_000
"""Columns of a pipe: nothing is folded, so that every row is one line."""


def out() -> Console:
    """The console for results: colour only on a terminal, no wrapping in a pipe."""
    return _console(sys.stdout.isatty(), stderr=False)


def err() -> Console:
    """The console for progress, notes and errors."""
    return _console(sys.stderr.isatty(), stderr=True)


def _console(terminal: bool, *, stderr: bool) -> Console:
    """Text is printed as it is: what users wrote may look like Rich's markup or its emoji."""
    return Console(
        stderr=stderr,
        soft_wrap=not terminal,
        markup=False,
        emoji=False,
        highlight=False,
        width=None if terminal else _PIPE_WIDTH,
    )


def emit(result: R, *, as_json: bool, render: Callable[[R], None]) -> None:
    """Prints one result: as JSON if asked to, else through ``render``."""
    if as_json:
        sys.stdout.write(json.dumps(result, default=plain, ensure_ascii=False, indent=2) + "\n")
    else:
        render(result)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints an aligned table, see ``grid``."""
    out().print(grid(columns, rows))


def grid(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """An aligned table; numbers to the right, ``None`` as a hyphen."""
    listed = [list(row) for row in rows]
    made = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        numeric = any(_is_number(row[index]) for row in listed)
        made.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        made.add_row(*(_cell(value) for value in row))
    return made


def plain(value: object) -> Any:
    """What ``json`` cannot write by itself, as something it can."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Path | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def confirm(question: str) -> None:
    """Asks on stderr, so that stdout holds the result alone; no answer means no."""
    err().print(f"{question} [y/N]", end=" ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise typer.Abort


def print_error(error: KappaError, *, as_json: bool) -> None:
    """One error on stderr: what happened, where, and the hint."""
    if as_json:
        document = {
            "error": type(error).__name__,
            "message": error.message,
            "detail": error.detail,
            "hint": error.hint,
        }
        sys.stderr.write(json.dumps(document, default=str) + "\n")
        return
    console = err()
    console.print("error: ", style="red", end="")
    console.print(str(error))
    if error.hint:
        console.print(f"hint: {error.hint}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return str(value)
