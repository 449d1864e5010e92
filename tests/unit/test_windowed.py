"""The windowed fold against the slow reference, however the records are cut and mixed."""

from __future__ import annotations

import random
from collections.abc import Sequence

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa import Count, Max, Mean, Min, Source, Sum, Tumbling, WindowedAggregate
from kappa.eventtime.watermark import PartitionClock
from kappa.processing.admission import anything
from kappa.processing.events import TOMBSTONE_SCHEMA, Events
from kappa.processing.store import NothingStored
from tests.reference import Record, exact_units, windowed

SCHEMA = pl.Schema({"at": pl.Datetime("ms", "UTC"), "product": pl.String(), "amount": pl.Float64()})

TOTALS = WindowedAggregate(
    name="totals",
    version=1,
    source=Source("orders", event_time="at", out_of_orderness="5ms", max_ahead="1s"),
    key=["product"],
    window=Tumbling("10ms"),
    allowed_lateness="3ms",
    aggregates={
        "orders": Count(),
        "paid": Count("amount"),
        "revenue": Sum("amount"),
        "mean": Mean("amount"),
        "least": Min("amount"),
        "most": Max("amount"),
    },
)


def frame(records: Sequence[Record]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "at": [r.event_time for r in records],
            "product": [r.key for r in records],
            "amount": [r.value for r in records],
            "@partition": [r.partition for r in records],
            "@offset": [r.offset for r in records],
            "@timestamp": [r.timestamp for r in records],
        },
        schema={
            "at": pl.Int64(),
            "product": pl.String(),
            "amount": pl.Float64(),
            "@partition": pl.Int32(),
            "@offset": pl.Int64(),
            "@timestamp": pl.Int64(),
        },
    ).with_columns(pl.col("at").cast(SCHEMA["at"]))


def events(records: Sequence[Record]) -> Events:
    return Events(
        topic="orders",
        partition=records[0].partition,
        frame=frame(records),
        tombstones=pl.DataFrame(schema=TOMBSTONE_SCHEMA),
        max_record_time=max(r.timestamp for r in records),
    )


records_strategy = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.one_of(st.none(), st.integers(-40, 120), st.just(5_000)),
        st.sampled_from(["a", "b", ""]),
        st.one_of(st.none(), st.floats(-1e6, 1e6), st.just(0.1), st.just(-0.0)),
    ),
    max_size=40,
)


@given(records_strategy, st.integers(1, 7), st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_any_cut_and_interleaving_gives_what_the_reference_gives(
    drawn: list[tuple[int, int | None, str, float | None]], batch: int, rng: random.Random
) -> None:
    offsets = [0, 0, 0]
    records = []
    for partition, event_time, key, value in drawn:
        records.append(Record(partition, offsets[partition], 1_000, event_time, key, value))
        offsets[partition] += 1
    expected = windowed(records, size=10, disorder=5, lateness=3, ahead=1_000)

    fold = TOTALS.bind(SCHEMA).fold(anything, NothingStored())
    clocks = [PartitionClock()] * 3
    queues = [
        [own[i : i + batch] for i in range(0, len(own), batch)]
        for own in ([r for r in records if r.partition == p] for p in range(3))
    ]
    flushed, late, dead = [], {}, set()
    while any(queues):
        partition = rng.choice([p for p in range(3) if queues[p]])
        outcome = fold.apply(events(queues[partition].pop(0)), clocks[partition])
        clocks[partition] = outcome.clock
        dead |= {(partition, offset) for offset in outcome.dead["@offset"]}
        if rng.random() < 0.3:
            flushed.append(fold.flush())
    flushed.append(fold.flush())

    for changes in flushed:
        for row in () if changes.late is None else changes.late.iter_rows(named=True):
            late[row["_partition"], row["_offset"]] = row["_late_by_ms"]
    assert late == expected.late
    assert dead == expected.dead
    rows = pl.concat(changes.rows for changes in flushed)
    merged = rows.group_by("product", pl.col("window_start").to_physical().alias("start")).agg(
        pl.col("orders", "paid", "mean__count").sum(),
        pl.col("revenue__units").sum().alias("units"),
        pl.col("least").min(),
        pl.col("most").max(),
    )
    assert len(merged) == len(expected.cells)
    for row in merged.iter_rows(named=True):
        cell = expected.cells[row["product"], row["start"]]
        assert row["orders"] == cell.count
        assert row["paid"] == row["mean__count"] == len(cell.values)
        assert row["units"] == exact_units(cell.values)
        assert row["least"] == min(cell.values, default=None)
        assert row["most"] == max(cell.values, default=None)


def test_a_sum_of_nothing_is_null_and_specials_follow_ieee_754() -> None:
    infinity = float("inf")
    values = {
        "none": [None, None],
        "nan": [1.0, float("nan")],
        "up": [1.0, infinity],
        "both": [infinity, -infinity],
        "down": [-infinity, 2.0],
        "plain": [1.5, None],
    }
    records = [Record(0, 0, 1_000, 5, key, value) for key, both in values.items() for value in both]
    fold = TOTALS.bind(SCHEMA).fold(anything, NothingStored())
    fold.apply(events(records), PartitionClock())
    rows = fold.flush().rows
    sums = dict(zip(rows["product"], rows["revenue__units"], strict=True))
    assert sums == {
        "none": None,
        "nan": "NaN",
        "up": "Infinity",
        "both": "NaN",
        "down": "-Infinity",
        "plain": str(3 << 31),
    }


def test_a_value_too_large_to_sum_exactly_is_a_dead_letter() -> None:
    fold = TOTALS.bind(SCHEMA).fold(anything, NothingStored())
    records = [
        Record(0, 0, 1_000, 5, "a", 2.0**63),
        Record(0, 1, 1_000, 5, "a", -1e300),
        Record(0, 2, 1_000, 5, "a", 2.0**62),
    ]
    outcome = fold.apply(events(records), PartitionClock())
    assert outcome.dead["@offset"].to_list() == [0, 1]
    assert "too large" in outcome.dead["message"][0]
    assert fold.flush().rows["revenue__units"].to_list() == [2**94]


def test_an_expression_that_fails_on_one_record_costs_only_that_record() -> None:
    strict = WindowedAggregate(
        name="totals",
        version=1,
        source=Source("orders", event_time="at"),
        key=[pl.col("product").cast(pl.Int32).alias("product")],
        window=Tumbling("10ms"),
        aggregates={"orders": Count()},
    )
    records = [Record(0, n, 1_000, 5, key, 1.0) for n, key in enumerate(["1", "x", "1", "2", "y"])]
    fold = strict.bind(SCHEMA).fold(anything, NothingStored())
    outcome = fold.apply(events(records), PartitionClock())
    assert outcome.dead["@offset"].to_list() == [1, 4]
    assert outcome.dead["error_class"].unique().to_list() == ["InvalidOperationError"]
    assert fold.flush().rows.sort("product")["orders"].to_list() == [2, 1]


def test_what_the_store_cannot_hold_is_a_dead_letter_and_moves_no_watermark() -> None:
    def storable(stored: pl.DataFrame) -> list[tuple[int, str]]:
        return [(at, "product is bad") for at, v in enumerate(stored["product"]) if v == "bad"]

    records = [Record(0, 0, 1_000, 100, "bad", 1.0), Record(0, 1, 1_000, 5, "good", 1.0)]
    outcome = (
        TOTALS.bind(SCHEMA).fold(storable, NothingStored()).apply(events(records), PartitionClock())
    )
    assert outcome.dead.rows() == [(0, "Refused", "product is bad", None, None)]
    assert outcome.clock == PartitionClock(5, 1_000)
