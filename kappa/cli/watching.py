"""Showing something again and again, in place on a terminal, below each other elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from kappa.cli.output import out
from kappa.errors import BrokerUnavailable, DatabaseUnavailable


def watch(look: Callable[[], RenderableType], *, every_s: float, count: int | None) -> None:
    """Shows what ``look`` finds every ``every_s`` seconds, ``count`` times or until Ctrl-C.

    A server that does not answer is shown too, and asked again.
    """
    console = out()
    if not console.is_terminal:
        for seen in _rounds(look, every_s, count):
            console.print(seen)
        return
    with Live(console=console, auto_refresh=False) as live:
        for seen in _rounds(look, every_s, count):
            live.update(seen, refresh=True)


def _rounds(
    look: Callable[[], RenderableType], every_s: float, count: int | None
) -> Iterator[RenderableType]:
    shown = 0
    while count is None or shown < count:
        if shown:
            time.sleep(every_s)
        shown += 1
        now = Text(time.strftime("%H:%M:%S"), style="dim")
        try:
            yield Group(now, look())
        except (BrokerUnavailable, DatabaseUnavailable) as error:
            yield Group(now, Text(f"error: {error}", style="red"))
