"""Any window, aggregate, disorder and way to read gives what the slow reference gives."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, seed, settings

from kappa.eventtime.watermark import PartitionClock
from kappa.processing.events import TOMBSTONE_SCHEMA, Changes, Events, Fold, Outcome
from kappa.testing.determinism import read
from kappa.testing.kinds import Shown
from kappa.testing.moments import in_ms
from kappa.testing.tables import Tables
from kappa.testing.windowed import WindowedKind
from tests.properties import aggregates, windows
from tests.properties.reference import Key, Place, Record, Window
from tests.properties.runs import PARTITIONS, SCHEMA, Run, runs

EXAMPLES = os.environ.get("KAPPA_EXAMPLES")
"""How many examples to draw, other ones each time; unset: 2,000, always the same."""

WINDOWS = sorted({case.label for case in windows.CASES})
TOGETHER = [(group, odd) for group in aggregates.GROUPS for odd in (False, True)]
SETTINGS = settings(
    max_examples=math.ceil(int(EXAMPLES or 2_000) / (len(WINDOWS) * len(TOGETHER))),
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("label", WINDOWS)
def test_every_aggregate_in(label: str) -> None:
    met: set[tuple[str, bool]] = set()
    cases = [case for case in windows.CASES if case.label == label]
    for number, (group, odd) in enumerate(TOGETHER):

        @given(runs(cases, group, filtered=odd))
        @SETTINGS
        def check(run: Run) -> None:
            if check_run(run):
                met.update((c.case.label, c.filtered) for c in run.chosen.values())

        place = WINDOWS.index(label) * len(TOGETHER) + number
        (check if EXAMPLES else seed(place)(check))()
    assert met == {(case.label, odd) for case in aggregates.CASES for odd in (False, True)}


class Counted(Fold):
    """A fold, and how many records of each batch it filters."""

    def __init__(self, fold: Fold, filtered: dict[Place, int]) -> None:
        self._fold = fold
        self._filtered = filtered

    @property
    def reads(self) -> frozenset[str]:
        return self._fold.reads

    @property
    def reads_keys(self) -> bool:
        return self._fold.reads_keys

    @property
    def full(self) -> bool:
        return self._fold.full

    def apply(self, events: Events, clock: PartitionClock) -> Outcome:
        outcome = self._fold.apply(events, clock)
        # A batch that is read again after a restart is the same batch.
        self._filtered[events.partition, events.frame["@offset"][0]] = outcome.filtered
        return outcome

    def flush(self) -> Changes:
        return self._fold.flush()

    def settled(self) -> None:
        self._fold.settled()


@dataclass(frozen=True, eq=False)
class Watched(WindowedKind):
    """The kind under test; ``filtered`` by the first record of each batch."""

    filtered: dict[Place, int] = field(default_factory=dict)

    def fold(self, tables: Tables) -> Fold:
        return Counted(super().fold(tables), self.filtered)


def check_run(run: Run) -> bool:
    """Whether there is any row, all of which are as the reference has them."""
    expected = run.window.expecting(run.records, run.times, run.refused())
    kind = Watched(run.declaration().bind(SCHEMA, (), "k"), SCHEMA, "k")
    tables = read(kind, partitions(run), run.schedule)
    assert sum(kind.filtered.values()) == len(expected.outside)
    assert {
        (r["@partition"], r["@offset"]) for d in tables.dead for r in d.to_dicts()
    } == expected.dead
    late = {
        (row["_partition"], row["_offset"]): (row["_verdict"], row["_late_by_ms"])
        for frame in tables.late
        for row in frame.to_dicts()
    }
    assert late == expected.late
    shown = by_group(kind.shown(tables, None), run.keys)
    assert shown.keys() == expected.groups.keys()
    for group, records in expected.groups.items():
        for name, chosen in run.chosen.items():
            due = chosen.expected(records)
            value = shown[group][name]
            assert chosen.case.agrees(value, due), f"{chosen} {group}: {value!r}, not {due!r}"
    return bool(shown)


def partitions(run: Run) -> dict[int, Events]:
    return {
        number: events(number, own, run)
        for number in range(PARTITIONS)
        if (own := [r for r in run.records if r.partition == number])
    }


def events(partition: int, records: Sequence[Record], run: Run) -> Events:
    keys = [b"other" if r.place in run.foreign else r.row["k"].encode() for r in records]
    columns = {
        "at": [r.event_time for r in records],
        **{name: [r.row[name] for r in records] for name in ("k", "n", "x", "d", "s", "ok")},
        "@partition": [partition] * len(records),
        "@offset": [r.offset for r in records],
        "@timestamp": [r.timestamp for r in records],
        "@key": keys,
    }
    system = {"@partition": pl.Int32(), **TOMBSTONE_SCHEMA}
    return Events(
        topic="topic",
        partition=partition,
        frame=pl.DataFrame(columns, schema={**SCHEMA, **system}),
        tombstones=TOMBSTONE_SCHEMA.to_frame(),
        max_record_time=max(r.timestamp for r in records),
    )


def by_group(
    rows: Shown, keys: Sequence[str]
) -> Mapping[tuple[Key, Window | None], Mapping[str, Any]]:
    """The rows by key and window; no two have the same."""
    found: dict[tuple[Key, Window | None], Mapping[str, Any]] = {}
    for row in rows:
        window = None
        if "window_start" in row:
            window = (in_ms(row["window_start"]), in_ms(row["window_end"]))
        key = tuple(row[name] for name in keys)
        assert (key, window) not in found
        found[key, window] = row
    return found
