"""Windows, lateness and sessions against what other stream processors publish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import polars as pl
import pytest

from kappa.errors import DeclarationError
from kappa.eventtime.lateness import overdue
from kappa.eventtime.sessions import OpenSessions, SessionEvents, assign
from kappa.eventtime.watermark import PartitionClock, watermarks
from kappa.eventtime.windows import Aligned
from tests.unit.published import (
    beam,
    beam_sessions,
    flink_sessions,
    flink_windows,
    kafka_sessions,
    kafka_windows,
)
from tests.unit.published.cases import (
    Case,
    Counted,
    Earliest,
    InPane,
    InWindows,
    Record,
    Refused,
    Sessions,
)

CASES: list[Case] = [
    *kafka_windows.WINDOWS,
    *kafka_windows.LATENESS,
    *kafka_sessions.CASES,
    *flink_windows.WINDOWS,
    *flink_windows.LATENESS,
    *flink_sessions.CASES,
    *beam.WINDOWS,
    *beam.LATENESS,
    *beam_sessions.CASES,
]

Kind = TypeVar("Kind", bound=Case)


def of(kind: type[Kind]) -> pytest.MarkDecorator:
    """All cases of a kind, named for their test."""
    cases = [case for case in CASES if isinstance(case, kind)]
    return pytest.mark.parametrize("case", cases, ids=[c.source.split("/")[-1] for c in cases])


def series(*values: int) -> pl.Series:
    return pl.Series(values, dtype=pl.Int64)


def test_every_project_has_its_say() -> None:
    said = [case.source.split()[0] for case in CASES]
    assert {project: said.count(project) >= 40 for project in said} == {
        "apache/kafka": True,
        "apache/flink": True,
        "apache/beam": True,
    }
    for case in CASES:
        assert bool(case.why) == (case.theirs is not None), case.source


@of(InWindows)
def test_an_event_is_in_these_windows(case: InWindows) -> None:
    window, event = case.window, series(case.event)
    (starts,) = window.starts(window.pane(event)).to_list()
    assert list(zip(starts, window.end(series(*starts)), strict=True)) == list(case.windows)
    assert window.last_end(event)[0] == max((end for _, end in case.windows), default=None)
    assert case.theirs != case.windows


@of(Earliest)
def test_this_is_the_earliest_window_of_an_event(case: Earliest) -> None:
    window = case.window
    start = window.first_start(window.pane(series(case.event)))
    assert (start[0], window.end(start)[0]) == case.earliest


@of(InPane)
def test_an_event_is_counted_in_this_slice(case: InPane) -> None:
    assert case.window.pane(series(case.event)).to_list() == [case.pane]
    assert case.window.panes_per_window == case.panes_per_window


@of(Refused)
def test_this_is_refused(case: Refused) -> None:
    zone = {} if case.zone is None else {"zone": case.zone}
    with pytest.raises(DeclarationError, match=case.message):
        case.kind(*case.arguments, **zone)  # type: ignore[arg-type]


@of(Counted)
def test_records_are_counted_while_their_windows_are_open(case: Counted) -> None:
    window, time = case.window, series(*(record.time for record in case.records))
    watermark = watermarks_of(case.records, case.out_of_orderness)
    by = overdue(window.last_end(time), watermark, case.lateness)
    assert {n: late for n, late in enumerate(by) if late >= 0} == case.late
    assert counted(window, time, watermark - case.lateness) == [list(c) for c in case.counted]
    assert case.theirs != case.counted


def counted(window: Aligned, time: pl.Series, horizon: pl.Series) -> list[list[int]]:
    """Per record the windows that are still open for it."""
    starts = window.starts(window.pane(time)).to_list()
    return [
        [start for start in each if start >= first]
        for each, first in zip(starts, window.first_open(horizon), strict=True)
    ]


@of(Sessions)
def test_records_make_these_sessions(case: Sessions) -> None:
    keys = sorted({record.key for record in case.records})
    key = np.array([keys.index(record.key) for record in case.records])
    time = np.array([record.time for record in case.records])
    none = np.empty(0, dtype=np.int64)
    assignment = assign(
        OpenSessions(none, none, none),
        SessionEvents(key, time, watermarks_of(case.records, 0).to_numpy()),
        case.session.gap_ms,
        case.lateness,
        case.session.max_length_ms,
    )
    late = np.flatnonzero(assignment.of_event < 0).tolist()
    assert {n: int(assignment.late_by[n]) for n in late} == case.late
    sessions = {}
    for number in range(assignment.count):
        members = np.flatnonzero(assignment.of_event == number)
        first, last = int(time[members].min()), int(time[members].max())
        name = keys[key[members[0]]]
        assert (key[members] == key[members[0]]).all()
        sessions[name, first, last + case.session.gap_ms] = len(members)
    assert sessions == case.sessions


def watermarks_of(records: Sequence[Record], out_of_orderness: int) -> pl.Series:
    """Where a case sets no watermarks, those of the records."""
    time = series(*(record.time for record in records))
    computed = watermarks(time, PartitionClock(), out_of_orderness)
    return series(
        *(
            own if record.watermark is None else record.watermark
            for record, own in zip(records, computed, strict=True)
        )
    )
