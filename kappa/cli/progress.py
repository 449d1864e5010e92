"""A progress bar with rate and time left, for commands that may take long."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich import progress
from rich.console import Console
from rich.text import Text

from kappa.cli.output import err

QUIET_S = 1.0
"""Work that is over sooner needs no bar."""


class ProgressBar:
    """Shows how far something is, on stderr. Use it as a context manager.

    It appears after QUIET_S, only on a terminal, and is gone when the block ends, so that
    neither a pipe nor the result ever holds a part of it.

    Args:
        what: the verb at the left, as in ``replaying``.
        unit: what the rate counts.
    """

    def __init__(self, what: str, unit: str = "records", *, console: Console | None = None) -> None:
        self._unit = unit
        self._console = console or err()
        self._bar: progress.Progress | None = None
        self.phase(what)

    def phase(self, what: str) -> None:
        """Begins something else from nothing."""
        self._close()
        self._what = what
        self._begin = time.monotonic()

    def update(self, done: int, total: int | None = None, *, count: int | None = None) -> None:
        """So much of ``total`` is done, in any unit; without a total no end is in sight.

        ``count`` is what the rate is of, where ``done`` is of another unit.
        """
        if self._bar is None:
            if not self._console.is_terminal or time.monotonic() - self._begin < QUIET_S:
                return
            self._bar = self._open()
        counted = done if count is None else count
        self._bar.update(self._bar.task_ids[0], completed=done, total=total, count=counted)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _open(self) -> progress.Progress:
        bar = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.TextColumn("{task.percentage:>3.0f}%"),
            _Rate(self._unit, self._begin),
            progress.TimeRemainingColumn(),
            console=self._console,
            transient=True,
            refresh_per_second=4,
        )
        bar.add_task(self._what, total=None, count=0)
        bar.start()
        return bar

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class _Rate(progress.ProgressColumn):
    """``1,234,567 records, 250,000/s`` since the work began."""

    def __init__(self, unit: str, begin: float) -> None:
        super().__init__()
        self._unit = unit
        self._begin = begin

    def render(self, task: progress.Task) -> Text:
        count = int(task.fields["count"])
        seconds = max(time.monotonic() - self._begin, 0.001)
        return Text(f"{count:,} {self._unit}, {count / seconds:,.0f}/s")
