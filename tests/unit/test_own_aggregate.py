"""An aggregate of the user's own: functions called per group, partials kept as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.errors import AggregateFailed, DeclarationError
from kappa.processing.aggregates.sketches.own import Merged
from kappa.processing.aggregates.worker_merged import RANK
from tests.worker_merged import (
    check_any_split,
    column_of,
    cuts,
    in_parts,
    partials,
    records,
    result,
    results,
)

MOST = 25


def total_cents(rows: pl.DataFrame) -> int:
    return int((rows["price"] * rows["pieces"]).sum())


ROWS = st.lists(
    st.tuples(st.sampled_from("ab"), st.none() | st.integers(-9, 9), st.none() | st.integers(0, 3)),
    max_size=MOST,
)
TYPES: dict[str, pl.DataType] = {"k": pl.String(), "price": pl.Int64(), "pieces": pl.Int64()}


@given(rows=ROWS, plan=cuts(MOST))
def test_the_functions_are_given_the_records_that_count(
    rows: list[tuple[Any, ...]], plan: tuple[list[int], list[int]]
) -> None:
    revenue = Merged(
        ["price", "pieces"],
        partial=total_cents,
        merge=lambda left, right: left + right,
        finalize=lambda cents: cents / 100,
    )
    frame = records(dict(zip(TYPES, zip(*rows, strict=True), strict=True)) if rows else {}, TYPES)
    found = check_any_split(revenue, frame, plan)
    for group in {row[0] for row in rows}:
        mine = [row[1:] for row in rows if row[0] == group and row[1:] != (None, None)]
        total = sum(
            (price or 0) * (pieces or 0) for price, pieces in mine if None not in (price, pieces)
        )
        assert found[group] == (total / 100 if mine else None)


@dataclass
class Spread:
    least: int
    words: frozenset[str]


@given(
    words=st.lists(st.sampled_from(["a", "b", "cc"]), min_size=1, max_size=MOST), plan=cuts(MOST)
)
def test_partials_of_a_declared_type_come_back_as_it(
    words: list[str], plan: tuple[list[int], list[int]]
) -> None:
    spread = Merged(
        pl.col("word").alias("w"),
        partial=lambda rows: Spread(rows["w"].str.len_bytes().min(), frozenset(rows["w"])),
        merge=lambda a, b: Spread(min(a.least, b.least), a.words | b.words),
        finalize=lambda spread: sorted(spread.words),
        keeps=Spread,
        result=pl.List(pl.String()),
    )
    frame = records({"word": words}, {"word": pl.String()})
    assert check_any_split(spread, frame, plan) == {"a": sorted(set(words))}


def test_the_frame_has_ranks() -> None:
    newest = Merged(
        "v",
        partial=lambda rows: rows.sort(RANK).select("v", pl.col(RANK).cast(pl.String)).row(-1),
        merge=lambda a, b: max(a, b, key=lambda entry: int(entry[1])),
        finalize=lambda entry: entry[0],
        result=pl.Int64,
    )
    frame = records({"v": [1, 2, None, 3, None]}, {"v": pl.Int64()})
    assert result(newest, frame) == 3
    column = column_of(newest, frame)
    parts = in_parts(column, [frame[3:], frame[:1], frame[1:3]])
    assert results(column, parts) == {"a": 3}
    assert result(Merged("v", where=pl.col("v") < 3, **functions(newest)), frame) == 2


def functions(merged: Merged) -> dict[str, Any]:
    return {name: getattr(merged, name) for name in ("partial", "merge", "finalize", "result")}


SUM: dict[str, Any] = {
    "partial": lambda rows: int(rows["v"].sum()),
    "merge": lambda a, b: a + b,
    "finalize": float,
}


def fail(*_: object) -> object:
    raise ZeroDivisionError("on purpose")


@pytest.mark.parametrize("function", ["partial", "merge", "finalize"])
def test_an_exception_says_where_it_came_from(function: str) -> None:
    frame = records({"v": [1, 2]}, {"v": pl.Int64()})
    column = column_of(Merged("v", **{**SUM, function: fail}), frame)
    with pytest.raises(AggregateFailed, match=f"{function} of the aggregate 'it' failed: on purp"):
        results(column, in_parts(column, [frame[:1], frame[1:]]))


@pytest.mark.parametrize(
    ("changed", "function"),
    [
        ({"partial": lambda _: object()}, "partial"),
        ({"finalize": lambda _: "text"}, "finalize"),
        ({"keeps": dict[str, int]}, "finalize"),
    ],
)
def test_what_does_not_fit_its_type_is_an_error_too(changed: dict[str, Any], function: str) -> None:
    given = {**SUM, **changed}
    frame = records({"v": [1, 2]}, {"v": pl.Int64()})
    column = column_of(Merged("v", **given), frame)
    with pytest.raises(AggregateFailed, match=f"{function} of the aggregate 'it' failed"):
        results(column, partials(column, frame))


def test_declarations_that_cannot_work() -> None:
    with pytest.raises(DeclarationError, match="Merged 'm' has no columns"):
        Merged([], **SUM).merger("m", [])
    with pytest.raises(DeclarationError, match="Merged 'm' cannot keep"):
        Merged(
            "v", **SUM, keeps=dict[int, set[list[int]] | dict[str, int] | set[str] | list[int]]
        ).merger("m", [pl.Int64()])
    with pytest.raises(DeclarationError, match="'v' is declared twice"):
        Merged(["v", pl.col("v") + 1], **SUM).reads()
