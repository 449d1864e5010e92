"""What is drawn: a processor, its records, and a way to read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import cycle
from typing import Any

import polars as pl
from hypothesis import strategies as st

from kappa import Source, WindowedAggregate
from kappa.testing.schedules import Act, Read, Schedule, Step
from tests.properties.aggregates import AggregateCase
from tests.properties.reference import Place, Record, Times
from tests.properties.windows import WindowCase

SCHEMA = pl.Schema(
    {
        "k": pl.String(),
        "at": pl.Int64(),
        "n": pl.Int64(),
        "x": pl.Float64(),
        "d": pl.Decimal(12, 2),
        "s": pl.String(),
        "ok": pl.Boolean(),
    }
)
PARTITIONS = 3
MAX_AHEAD = 10**9
"""Beyond all event times of a case, ms."""


@dataclass(frozen=True)
class Chosen:
    """An aggregate of the processor; ``filtered``: only where ``ok`` is true."""

    case: AggregateCase
    filtered: bool

    def declared(self) -> Any:
        return self.case.declared(where=pl.col("ok") if self.filtered else None)

    def counts(self, row: Mapping[str, Any]) -> bool:
        return row["ok"] is True if self.filtered else True

    def expected(self, records: Sequence[Record]) -> Any:
        return self.case.result([r for r in records if self.counts(r.row)])

    def refuses(self, row: Mapping[str, Any]) -> bool:
        return self.counts(row) and self.case.refuses(row)


@dataclass(frozen=True, repr=False)
class Run:
    """One example.

    Attributes:
        chosen: the aggregates by the name of their column.
        keys: the columns to group by, the record key first.
        foreign: the records whose record key is not that of their row.
    """

    window: WindowCase
    keys: tuple[str, ...]
    chosen: Mapping[str, Chosen]
    times: Times
    records: Sequence[Record]
    foreign: frozenset[Place]
    schedule: Schedule

    @property
    def keyed(self) -> bool:
        """Whether all of a key's records must lie in one partition."""
        return self.window.of_keys or any(c.case.keyed for c in self.chosen.values())

    def __repr__(self) -> str:
        records = "".join(
            f"\n  {r.place}{'!' * (r.place in self.foreign)} at {r.event_time}"
            f" stamped {r.timestamp}: {r.row}"
            for r in self.records
        )
        asked = [f"{c.case.label}{' where ok' * c.filtered}" for c in self.chosen.values()]
        what = f"{self.window.declared} of {asked} by {self.keys}, {self.times}"
        return f"{what}{records}\n  read {self.schedule}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """How hypothesis prints it."""
        printer.text(repr(self))

    def refused(self) -> set[Place]:
        """The records that are dead letters whatever their time."""
        refused = {
            r.place for r in self.records if any(c.refuses(r.row) for c in self.chosen.values())
        }
        return refused | (self.foreign if self.keyed else set())

    def declaration(self) -> WindowedAggregate:
        times = self.times
        return WindowedAggregate(
            name="drawn",
            version=1,
            source=Source(
                "topic",
                event_time="at",
                out_of_orderness=times.out_of_orderness,
                max_ahead=times.max_ahead,
            ),
            key=self.keys,
            window=self.window.declared,
            allowed_lateness=times.allowed_lateness,
            aggregates={name: chosen.declared() for name, chosen in self.chosen.items()},
        )


_INFINITY = float("inf")
_DOUBLES = [None, 0.1, -0.0, 0.0, 1.5, -2.25, 1e-10, 3e5, 7.0, float("nan"), _INFINITY, -_INFINITY]
_ROWS = st.tuples(
    st.sampled_from([None, 0, 1, -1, 2, 7, 2**40]),
    st.sampled_from([*_DOUBLES, 0.1, 1.5, -2.25, 2.0**63, -(2.0**62)]),
    st.sampled_from([None, *map(Decimal, ("0.10", "-0.01", "12.34", "1000000.00"))]),
    st.sampled_from([None, "", "a", "b", "B", "ü", "\U0001f375"]),
    st.sampled_from([True, True, False, None]),
)
_PLACES = st.tuples(  # partition, key, steps that time goes on, steps behind it, oddity
    st.integers(0, PARTITIONS - 1),
    st.sampled_from("aaaabc"),
    st.sampled_from([0, 1, 1, 2, 3, 9]),
    st.sampled_from([*[0] * 8, *range(1, 14)]),
    st.sampled_from(["", "", "", "", "", "", "", "", "null", "ahead", "foreign"]),
)
_RECORDS = st.lists(st.tuples(_PLACES, _ROWS), max_size=10)
"""Drawn twice: two short lists are longer, and shrink sooner, than one that may be long."""
_BETWEEN: list[tuple[Act, ...]] = [
    (),
    (),
    (Act.CHECKPOINT,),
    (Act.FLUSH,),
    (Act.RESTART,),
    (Act.CHECKPOINT, Act.RESTART),
    (Act.CHECKPOINT, Act.RESTART),
    (Act.FLUSH, Act.RESTART),
]
_STEPS = st.lists(
    st.tuples(
        st.integers(0, PARTITIONS - 1),
        st.integers(1, 6),
        st.sampled_from(_BETWEEN),
    ),
    min_size=1,
    max_size=6,
)


@st.composite
def runs(
    draw: st.DrawFn, cases: Sequence[WindowCase], group: Sequence[AggregateCase], filtered: bool
) -> Run:
    """One of the windows, disorder, lateness, records and a way to read them.

    Every other aggregate is filtered: the first one if ``filtered``.
    """
    window = draw(st.sampled_from(cases))
    by_name = {f"a{n}": Chosen(case, (n % 2 == 1) != filtered) for n, case in enumerate(group)}
    disorder, lateness = draw(st.sampled_from([0, 2, 5, 9])), draw(st.sampled_from([0, 0, 3, 8]))
    times = Times(disorder * window.step, lateness * window.step, MAX_AHEAD)
    keyed = window.of_keys or any(c.case.keyed for c in by_name.values())
    keys = draw(st.sampled_from([("k",), ("k", "ok")]))
    records, foreign = _records(draw(_RECORDS) + draw(_RECORDS), window, keyed, keys)
    return Run(window, keys, by_name, times, records, foreign, _schedule(draw(_STEPS), records))


def _records(
    drawn: Sequence[tuple[Any, Any]], window: WindowCase, keyed: bool, keys: Sequence[str]
) -> tuple[list[Record], frozenset[Place]]:
    lengths = [0] * PARTITIONS
    records: list[Record] = []
    foreign: set[Place] = set()
    now = 0
    for (partition, key, further, behind, oddity), values in drawn:
        if keyed:
            partition = "abc".index(key)
        now += further
        time = None if oddity == "null" else window.origin + (now - behind) * window.step
        stamp = 0 if time is None else time - (MAX_AHEAD + 1 if oddity == "ahead" else 0)
        row = dict(zip(("k", "n", "x", "d", "s", "ok"), (key, *values), strict=True))
        grouped_by = tuple(row[name] for name in keys)
        record = Record(partition, lengths[partition], stamp, time, grouped_by, row)
        if oddity == "foreign":
            foreign.add(record.place)
        records.append(record)
        lengths[partition] += 1
    return records, frozenset(foreign)


def _schedule(
    drawn: Sequence[tuple[int, int, tuple[Act, ...]]], records: Sequence[Record]
) -> Schedule:
    """The steps drawn, over and over until all partitions are read."""
    left = Counter(record.partition for record in records)
    steps: list[Step] = []
    for wanted, most, between in cycle(drawn):
        if not left:
            break
        partition = wanted if wanted in left else min(left)
        count = min(most, left[partition])
        left = +(left - Counter({partition: count}))
        steps += [Read(partition, count), *between]
    return Schedule("drawn", steps)
