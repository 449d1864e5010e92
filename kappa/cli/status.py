"""``kappa status``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kappa import config
from kappa.cli.output import Json, emit, err, grid, out, plain
from kappa.cli.watching import watch
from kappa.operations.status import Failure, VersionStatus, status

_COLUMNS = (
    "processor",
    "version",
    "state",
    "workers",
    "topic",
    "records",
    "late",
    "dead",
    "lag",
    "behind",
    "records/s",
    "bottleneck",
)
_NOTHING = "no version has been built yet"
_UNITS = (("y", 31_557_600), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def command(
    names: Annotated[
        list[str] | None, typer.Argument(help="The processors; all if none is named.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Retired versions too.")] = False,
    watching: Annotated[
        bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")
    ] = False,
    interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two looks, with --watch.")
    ] = 2.0,
    count: Annotated[
        int | None, typer.Option(min=1, help="End after so many looks, with --watch.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show where every version of every processor stands; retired ones with --all.

    LAG counts offsets, BEHIND is how far event time is behind the clock while there is a lag.
    BOTTLENECK is what the workers wait for: source, processing or database.

    Example: kappa status --watch
    """
    look = partial(status, config.load(), tuple(names or ()), retired=every)
    if not watching:
        emit(look(), as_json=as_json, render=_render)
    elif as_json:
        _print_lines(look, interval, count)
    else:
        watch(lambda: _screen(look()), every_s=interval, count=count)


def _print_lines(
    look: Callable[[], tuple[VersionStatus, ...]], interval: float, count: int | None
) -> None:
    """One document per line and look."""
    shown = 0
    while count is None or shown < count:
        if shown:
            time.sleep(interval)
        shown += 1
        document = json.dumps(look(), default=plain, ensure_ascii=False)
        sys.stdout.write(document + "\n")
        sys.stdout.flush()


def _render(versions: tuple[VersionStatus, ...]) -> None:
    if not versions:
        out().print(_NOTHING)
        err().print("hint: 'kappa processors list' shows what can be replayed")
        return
    out().print(_table(versions))
    for line in _notes(versions):
        err().print(line)


def _screen(versions: tuple[VersionStatus, ...]) -> RenderableType:
    if not versions:
        return Text(_NOTHING)
    return Group(_table(versions), *(Text(line) for line in _notes(versions)))


def _table(versions: tuple[VersionStatus, ...]) -> Table:
    return grid(
        _COLUMNS,
        [
            (
                v.processor,
                v.version,
                v.state,
                len(v.workers),
                ", ".join(v.topics),
                v.records,
                v.late,
                v.dead,
                v.lag,
                _duration(v.lag_seconds),
                round(v.records_per_second) if v.workers else None,
                v.bottleneck,
            )
            for v in versions
        ],
    )


def _notes(versions: tuple[VersionStatus, ...]) -> Iterator[str]:
    """What only some versions have to say."""
    for version in versions:
        for line in _said(version):
            yield f"{version.processor} version {version.version}: {line}"


def _said(version: VersionStatus) -> Iterator[str]:
    now = datetime.now(UTC)
    if version.failure is not None:
        yield _last(version.failure)
    for sent in version.outputs:
        if sent.failure is not None:
            yield f"output {sent.output}: {_last(sent.failure)}"
    if version.corrections:
        yield f"windows that were final have been corrected {version.corrections} times"
    if version.timer_due is not None and version.timer_due < now:
        yield (
            f"a timer is due since {version.timer_due:%Y-%m-%d %H:%M:%S} UTC: it fires with the"
            " next record of its partition"
        )
    if version.lag == 0 and version.event_timer_due is not None and version.event_timer_due < now:
        yield (
            f"an event-time timer or ttl is set for {version.event_timer_due:%Y-%m-%d %H:%M:%S}"
            " UTC: it waits for records of its partition"
        )
    if version.held_until is not None:
        yield (
            "held for a comparison or a promote; it goes on by"
            f" {version.held_until:%H:%M:%S} UTC at the latest"
        )
    for override in version.overrides:
        yield f"warning: {override}"


def _last(failure: Failure) -> str:
    since = _duration(max((datetime.now(UTC) - failure.at).total_seconds(), 0.0))
    return f"last error, {since} ago: {failure.error}: {failure.message}"


def _duration(seconds: float | None) -> str | None:
    """``1.4s``, ``3m 20s``, ``12y 40d``: the two greatest units."""
    if seconds is None:
        return None
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds else "0s"
    first = next(index for index, (_, size) in enumerate(_UNITS) if seconds >= size)
    (unit, size), (smaller, part) = _UNITS[first], _UNITS[first + 1]
    rest = int(seconds % size // part)
    whole = f"{int(seconds // size)}{unit}"
    return f"{whole} {rest}{smaller}" if rest else whole
