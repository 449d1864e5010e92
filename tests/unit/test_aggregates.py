"""Partials, merged in any split and order, against the slow reference that has none."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa import Source, Tumbling, WindowedAggregate
from kappa.errors import DeclarationError
from kappa.processing.aggregates import exact
from kappa.processing.aggregates.declared import Count, Max, Min, SqlMerged
from kappa.processing.aggregates.partials import Partial, merging, settle, stored_dtype, unsettle
from kappa.processing.aggregates.picks import ArgMax, ArgMin, First, Last
from kappa.processing.aggregates.sums import Mean, Stddev, Sum, Variance
from tests.aggregates import (
    SCHEMA,
    Row,
    every_aggregate,
    expected,
    input_types,
    lifted,
    partials_of,
    records,
    same,
)

EVERY = every_aggregate()
KINDS = sorted({type(aggregate).__name__ for aggregate in EVERY.values()})


def merge(frame: pl.DataFrame, partials: Sequence[Partial]) -> pl.DataFrame:
    """One row per key, of the columns there are."""
    merged = [merging(p) for p in partials if p.column in frame.columns]
    return frame.lazy().group_by("key").agg(merged).collect(engine="streaming")


def folded(rows: Sequence[Row], partials: Sequence[Partial], cuts: Sequence[int]) -> pl.DataFrame:
    """The rows as a fold holds them, batch after batch, and what it stores of them.

    Internal columns that hold nothing unusual are left out of a batch.
    """
    batches = []
    for begin, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        batch = lifted(rows[begin:end], partials)
        usual = [p.column for p in partials if p.internal and (batch[p.column] == p.usual).all()]
        batches.append(batch.drop(usual))
    held = pl.concat(batches, how="diagonal")
    merged = merge(
        held.with_columns(
            pl.col(p.column).fill_null(p.usual)
            for p in partials
            if p.internal and p.column in held.columns
        ),
        partials,
    )
    return pl.concat([merged.select("key"), settle(merged, partials)], how="horizontal")


def as_read(stored: pl.DataFrame, partials: Sequence[Partial]) -> pl.DataFrame:
    """As the table has it: numbers without a limit come as text."""
    return stored.cast({p.column: stored_dtype(p) for p in partials if not p.internal})


def merged_again(
    parts: Sequence[pl.DataFrame], partials: Sequence[Partial], as_text: bool
) -> pl.DataFrame:
    """Stored parts of rows as one stored row per key."""
    if as_text:
        parts = [as_read(part, partials) for part in parts]
    mergeable = pl.concat(
        [
            pl.concat([part.select("key"), unsettle(part, partials)], how="horizontal")
            for part in parts
        ]
    )
    merged = merge(mergeable, partials)
    return pl.concat([merged.select("key"), settle(merged, partials)], how="horizontal")


def check(stored: pl.DataFrame, rows: Sequence[Row], aggregates: dict[str, SqlMerged]) -> None:
    groups = {row["key"]: [r for r in rows if r["key"] == row["key"]] for row in rows}
    assert sorted(stored["key"]) == sorted(groups)
    for row in stored.iter_rows(named=True):
        for name, aggregate in aggregates.items():
            shown = aggregate.shown(name, input_types(aggregate)).value(row)
            wanted = expected(aggregate, groups[row["key"]])
            assert same(shown, wanted), (name, shown, wanted)


@pytest.mark.parametrize("kind", KINDS)
@given(
    rows=records(),
    cuts=st.lists(st.integers(0, 12), max_size=3),
    parts=st.integers(1, 4),
    as_text=st.booleans(),
    rng=st.randoms(use_true_random=False),
)
@settings(max_examples=40)
def test_any_split_and_order_comes_to_what_the_reference_shows(
    kind: str,
    rows: list[Row],
    cuts: list[int],
    parts: int,
    as_text: bool,
    rng: random.Random,
) -> None:
    of_kind = [name for name, aggregate in EVERY.items() if type(aggregate).__name__ == kind]
    aggregates = {name: EVERY[name] for name in rng.sample(of_kind, min(len(of_kind), 6))}
    partials = partials_of(aggregates)
    at = sorted(min(cut, len(rows)) for cut in cuts)
    check(folded(rows, partials, at), rows, aggregates)

    shares: list[list[Row]] = [[] for _ in range(parts)]
    for row in rows:
        rng.choice(shares).append(row)
    stored = [folded(share, partials, []) for share in shares]
    check(merged_again(stored, partials, as_text), rows, aggregates)


def test_what_is_stored_survives_being_read_and_stored_again() -> None:
    aggregates = {n: a for n, a in EVERY.items() if isinstance(a, Mean | Variance | ArgMin | Last)}
    partials = partials_of(aggregates)
    empty = dict.fromkeys(SCHEMA)
    rows = [
        {**empty, "key": "nothing", "rank": 1},
        {**empty, "key": "nan", "rank": 2, "double": math.nan, "paid": True},
        {**empty, "key": "huge", "rank": 3, "double": -(2.0**62), "wide": 2**94, "list": [1]},
        {**empty, "key": "small", "rank": 4, "double": 0.5, "wide": -1, "side": "buy"},
    ]
    stored = as_read(folded(rows, partials, []), partials)
    again = settle(unsettle(stored, partials), partials)
    assert as_read(again, partials).equals(stored.select(again.columns))
    squares = dict(zip(stored["key"], stored["var_double__squares"], strict=True))
    assert squares == {
        "nothing": None,
        "nan": "0",
        "huge": str(2**188),
        "small": str(2**62),
    }


@given(st.lists(st.tuples(*[st.integers(0, 2**126) | st.integers(0, 9)] * 3), max_size=5))
def test_limbs_are_joined_to_one_number_and_split_again(limbs: list[tuple[int, int, int]]) -> None:
    low, middle, high = (
        pl.Series([row[place] for row in limbs], dtype=pl.Int128) for place in range(3)
    )
    numbers = [low + (middle << 49) + (high << 96) for low, middle, high in limbs]
    joined = exact.joined(low, middle, high)
    assert [int(number) for number in joined] == numbers
    low, middle, high = exact.split(joined)
    rejoined = zip(low, middle, high, strict=True)
    assert [low + (middle << 49) + (high << 96) for low, middle, high in rejoined] == numbers
    assert all(number < 2**96 for number in low)


@pytest.mark.parametrize("aggregate", [Sum, Mean, Variance, Stddev])
@pytest.mark.parametrize(
    ("dtype", "values", "refused"),
    [
        (pl.Float64(), [2.0**63, -(2.0**63), 1e300, 2.0**62, math.inf, math.nan, None], 3),
        (pl.Int128(), [2**95, -(2**95), 2**95 - 1, None], 2),
        (pl.Decimal(38, 2), [Decimal(10) ** 27, Decimal(10) ** 26, None], 1),
        (pl.Int64(), [2**63 - 1, -(2**63), None], 0),
        (pl.UInt64(), [2**64 - 1, None], 0),
    ],
)
def test_values_too_large_are_refused_unless_they_do_not_count(
    aggregate: type[Sum | Mean | Variance | Stddev],
    dtype: pl.DataType,
    values: list[Any],
    refused: int,
) -> None:
    frame = pl.DataFrame({"x": values}, schema={"x": dtype})
    found = aggregate("x").refusals([dtype])
    assert all("too large" in refusal.message for refusal in found)
    verdicts = [frame.select(x=refusal.condition)["x"] for refusal in found]
    assert [sum(verdict.to_list()) for verdict in verdicts] == ([refused] if refused else [])
    assert all(verdict.to_list()[:refused] == [True] * refused for verdict in verdicts)
    for refusal in aggregate("x", where=pl.col("x").is_null()).refusals([dtype]):
        assert not frame.select(x=refusal.condition)["x"].any()


def test_zero_has_no_sign_where_it_could_depend_on_order() -> None:
    aggregates: dict[str, SqlMerged] = {
        "least": Min("double"),
        "most": Max("double"),
        "sum": Sum("double"),
    }
    partials = partials_of(aggregates)
    empty = dict.fromkeys(SCHEMA)
    for zeros in ([-0.0, -0.0], [0.0, -0.0], [-0.0, 0.0]):
        rows = [{**empty, "key": "a", "rank": n, "double": zero} for n, zero in enumerate(zeros)]
        (row,) = folded(rows, partials, []).iter_rows(named=True)
        for name, aggregate in aggregates.items():
            assert same(aggregate.shown(name, [pl.Float64()]).value(row), 0.0)


@pytest.mark.parametrize(
    ("aggregate", "types", "message", "hint"),
    [
        (Sum("x"), [pl.String()], "Sum 'total' needs a number, not String", "cast"),
        (Mean("x"), [pl.Boolean()], "Mean 'total' needs a number, not Boolean", "cast"),
        (Variance("x"), [pl.Date()], "Variance 'total' needs a number, not Date", "cast"),
        (Stddev("x"), [pl.List(pl.Int64())], "Stddev 'total' needs a number", "cast"),
        (Min("x"), [pl.Boolean()], "Min 'total' cannot order values of type Boolean", "use a"),
        (Max("x"), [pl.Binary()], "Max 'total' cannot order values of type Binary", "use a"),
        (
            ArgMin("x", by="y"),
            [pl.Int64(), pl.Struct({"a": pl.Int64()})],
            "ArgMin 'total' cannot order values of type Struct",
            "use a",
        ),
        (ArgMax("x", "y"), [pl.Int64(), pl.Null()], "ArgMax 'total' cannot order", "use a"),
    ],
)
def test_inputs_an_aggregate_cannot_take(
    aggregate: SqlMerged, types: list[pl.DataType], message: str, hint: str
) -> None:
    with pytest.raises(DeclarationError, match=message) as raised:
        aggregate.partials("total", types, pl.col("rank"))
    assert hint in raised.value.hint


@pytest.mark.parametrize(
    ("aggregate", "message", "hint"),
    [
        (Sum("cost"), "the source has no column 'cost'", "its columns are at, shop, amount"),
        (ArgMax("shop", by="cost"), "the source has no column 'cost'", "its columns are"),
        (Count(where=pl.col("paid")), "where: the source has no column 'paid'", "its columns are"),
        (Count(where=pl.col("amount")), "where is of type Int64, not a condition", "where=pl.col"),
        (First(pl.col("amount").shift()), "looks at other records", "its own record"),
    ],
)
def test_a_declaration_that_cannot_work_names_processor_field_and_remedy(
    aggregate: SqlMerged, message: str, hint: str
) -> None:
    declared = WindowedAggregate(
        name="totals",
        version=3,
        source=Source("orders", event_time="at"),
        key=["shop"],
        window=Tumbling("1m"),
        aggregates={"total": aggregate},
    )
    columns = {"at": pl.Datetime("ms", "UTC"), "shop": pl.String(), "amount": pl.Int64()}
    with pytest.raises(DeclarationError, match="totals version 3, aggregate 'total'") as raised:
        declared.bind(pl.Schema(columns))
    assert message in raised.value.message
    assert hint in raised.value.hint
