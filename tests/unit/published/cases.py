"""The kinds of cases. Times are milliseconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kappa.eventtime.sessions import Session
from kappa.eventtime.windows import Aligned, Hopping, Sliding, Tumbling

Span = tuple[int, int]

FAR_BEHIND = -(10**12)
"""A watermark that closes nothing: theirs has not been set yet."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Something they say.

    Attributes:
        source: project, file, and test or heading.
        theirs: what they say, where kappa says something else.
        why: why it does.
        note: how the numbers had to be read.
    """

    source: str
    theirs: object = None
    why: str = ""
    note: str = ""


@dataclass(frozen=True)
class InWindows(Case):
    """An event and all windows it is in."""

    window: Aligned
    event: int
    windows: Sequence[Span]


@dataclass(frozen=True)
class InPane(Case):
    """An event, the start of the slice of time it is counted in, and how many a window has."""

    window: Aligned
    event: int
    pane: int
    panes_per_window: int


@dataclass(frozen=True)
class Earliest(Case):
    """An event and the earliest window it is in."""

    window: Aligned
    event: int
    earliest: Span


@dataclass(frozen=True)
class Refused(Case):
    """A declaration that kappa refuses, and a part of what it says."""

    kind: type[Tumbling] | type[Hopping] | type[Sliding] | type[Session]
    arguments: Sequence[str | int]
    message: str
    zone: str | None = None


@dataclass(frozen=True)
class Record:
    """An event time when the watermark has come to ``watermark``; None: to the greatest so far."""

    time: int
    watermark: int | None = None
    key: str = ""


@dataclass(frozen=True)
class Counted(Case):
    """Records that come one after the other, and what becomes of each.

    Attributes:
        counted: per record the starts of the windows it is counted in.
        late: by how much which records (by place) are late.
    """

    window: Aligned
    lateness: int
    records: Sequence[Record]
    counted: Sequence[Sequence[int]]
    late: Mapping[int, int] = field(default_factory=dict)
    out_of_orderness: int = 0


@dataclass(frozen=True)
class Sessions(Case):
    """Records that come one after the other, and the sessions they make.

    Attributes:
        sessions: how many records each has, by key, first record and end of the window.
        late: by how much which records (by place) are late.
    """

    session: Session
    records: Sequence[Record]
    sessions: Mapping[tuple[str, int, int], int]
    lateness: int = 0
    late: Mapping[int, int] = field(default_factory=dict)


def held(
    source: str, window: Aligned, holds: Mapping[Span, Sequence[int]], nowhere: Sequence[int] = ()
) -> Iterable[InWindows]:
    """A case per event, from the windows and what each holds."""
    for event in sorted({*nowhere, *(event for events in holds.values() for event in events)}):
        spans = sorted(span for span, events in holds.items() if event in events)
        yield InWindows(window, event, spans, source=source)


def started(source: str, window: Tumbling, starts: Mapping[int, int]) -> Iterable[InWindows]:
    """A case per event, from the start of the one window it is in."""
    for event, start in starts.items():
        yield InWindows(window, event, [(start, start + window.size_ms)], source=source)


def every(size: int, starts: Iterable[int]) -> list[Span]:
    """Windows of one size."""
    return [(start, start + size) for start in starts]


def records(*times: int, watermark: int | None = None, key: str = "") -> list[Record]:
    return [Record(time, watermark, key) for time in times]


def ms(text: str) -> int:
    """An instant written with its offset from UTC."""
    return round(datetime.fromisoformat(text).timestamp() * 1_000)
