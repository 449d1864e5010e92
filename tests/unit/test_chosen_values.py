"""TopK and Collect against sorting all records, however those are split and ordered."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.errors import DeclarationError
from kappa.processing.aggregates.sketches.chosen import Collect, TopK
from kappa.processing.aggregates.worker_merged import RANK
from tests.worker_merged import check_any_split, column_of, cuts, partials, records, result

MOST = 30
COUNTS = st.integers(1, 5)
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["x", "y"]),
        st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=3),
        st.none() | st.sampled_from([0.0, -0.0, 1.5, -1.5, math.inf, math.nan]),
        st.none() | st.integers(-(2**63), 2**63 - 1),
    ),
    max_size=MOST,
)
TYPES: dict[str, pl.DataType] = {
    "k": pl.String(),
    "text": pl.String(),
    "float": pl.Float64(),
    "int": pl.Int64(),
}


def drawn(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return records(dict(zip(TYPES, zip(*rows, strict=True), strict=True)) if rows else {}, TYPES)


def expected(
    rows: list[tuple[Any, ...]], pick: Any, order: Any, *, descending: bool, most: int
) -> dict[Any, Any]:
    """Per group the ``pick`` of its first rows, of those where neither pick nor order is None."""
    listed: dict[Any, list[Any]] = {row[0]: [] for row in rows}
    for rank, row in enumerate(rows):
        if pick(row) is not None and order(row, rank) is not None:
            listed[row[0]].append((order(row, rank), pick(row)))
    return {
        group: [v for _, v in sorted(entries, key=lambda e: e[0], reverse=descending)][:most]
        or None
        for group, entries in listed.items()
    }


def of_float(value: float) -> tuple[bool, float]:
    return (math.isnan(value), 0.0 if math.isnan(value) else value)


@given(rows=ROWS, k=COUNTS, plan=cuts(MOST))
def test_the_greatest_values(
    rows: list[tuple[Any, ...]], k: int, plan: tuple[list[int], list[int]]
) -> None:
    frame = drawn(rows)
    found = check_any_split(TopK("int", k), frame, plan)
    assert found == expected(rows, lambda r: r[3], lambda r, _: r[3], descending=True, most=k)
    found = check_any_split(TopK("text", k), frame, plan)

    def encoded(row: tuple[Any, ...], _: int) -> bytes | None:
        return None if row[1] is None else row[1].encode()

    assert found == expected(rows, lambda r: r[1], encoded, descending=True, most=k)


@given(rows=ROWS, k=COUNTS, plan=cuts(MOST))
def test_the_values_of_the_greatest_by(
    rows: list[tuple[Any, ...]], k: int, plan: tuple[list[int], list[int]]
) -> None:
    found = check_any_split(TopK("text", k, by="float"), drawn(rows), plan)

    def order(row: tuple[Any, ...], rank: int) -> Any:
        return None if row[2] is None else (of_float(row[2]), rank)

    assert found == expected(rows, lambda r: r[1], order, descending=True, most=k)


@given(rows=ROWS, limit=COUNTS, plan=cuts(MOST))
def test_the_first_values(
    rows: list[tuple[Any, ...]], limit: int, plan: tuple[list[int], list[int]]
) -> None:
    frame = drawn(rows)
    found = check_any_split(Collect("int", limit), frame, plan)
    assert found == expected(rows, lambda r: r[3], lambda _, n: n, descending=False, most=limit)
    structs = Collect(pl.struct("text", n="int"), limit, where=pl.col("int") > 0)
    found = check_any_split(structs, frame, plan)

    def pick(row: tuple[Any, ...]) -> Any:
        return {"text": row[1], "n": row[3]} if (row[3] or 0) > 0 else None

    assert found == expected(rows, pick, lambda _, n: n, descending=False, most=limit)


VALUES: list[tuple[pl.DataType, list[Any]]] = [
    (pl.Decimal(10, 2), [Decimal("-1.50"), Decimal("99999999.99")]),
    (pl.Decimal(38, 5), [Decimal("-1.50000"), Decimal("9" * 30 + ".12345")]),
    (pl.Int128(), [-(2**127), 2**127 - 1]),
    (pl.UInt64(), [0, 2**64 - 1]),
    (pl.Float32(), [-0.5, 2.0**-149]),
    (pl.Boolean(), [True, False]),
    (pl.Date(), [date(1, 1, 1), date(9999, 12, 31)]),
    (pl.Time(), [time(23, 59, 59, 999999), time(0)]),
    (pl.Datetime("us"), [datetime(1969, 12, 31, 23, 59, 59, 999999)]),
    (pl.Datetime("ms", "UTC"), [datetime(2026, 2, 3, 4, 5, 6, 7000, tzinfo=UTC)]),
    (pl.Enum(["b", "a"]), ["a", "b"]),
    (pl.Struct({"at": pl.Date(), "n": pl.Decimal(5, 1)}), [{"at": None, "n": Decimal("0.5")}]),
]


@pytest.mark.parametrize(("dtype", "values"), VALUES, ids=[str(dtype) for dtype, _ in VALUES])
def test_values_come_back_as_they_were(dtype: pl.DataType, values: list[Any]) -> None:
    frame = records({"v": values}, {"v": dtype})
    column = column_of(Collect("v", 10), frame)
    shown = pl.String() if isinstance(dtype, pl.Enum) else dtype
    assert column.merger.result == pl.List(shown)
    series = column.merger.shown(partials(column, frame)[column.partial])
    assert series.dtype == pl.List(shown)
    assert series.to_list() == [values]
    if not isinstance(dtype, pl.Struct):
        text = isinstance(dtype, pl.Enum)
        assert result(TopK("v", 1), frame) == [max(values, key=str if text else None)]


def test_the_bytes_are_what_is_written_down() -> None:
    """Partials are stored, and compared between machines: these may never change."""
    frame = records({"v": ["a", "b"], "n": [1, 2]}, {"v": pl.String(), "n": pl.Int64()})
    frame = frame.with_columns(pl.Series(RANK, [2**64, 5], dtype=pl.Int128))
    least = -(2**63)
    written = {
        TopK("n", 3): [[2, 1]],
        TopK("v", 3, by="n"): [[2, 1], [0, 1], [least + 5, least], ["b", "a"]],
        Collect("v", 3): [[0, 1], [least + 5, least], ["b", "a"]],
    }
    for aggregate, body in written.items():
        column = column_of(aggregate, frame)
        (partial,) = partials(column, frame)[column.partial]
        assert partial == b"\x06" + msgspec.msgpack.encode(body)


def test_what_json_cannot_hold_is_refused() -> None:
    frame = pl.DataFrame(
        {
            "f": [1.0, math.nan, math.inf, None],
            "t": ["a", "\0", "a\0b", None],
            "d": pl.Series([0, -719_163, 2_932_897, None]).cast(pl.Date),
        }
    )
    unfit = [False, True, True, False]
    for name in ("f", "t", "d"):
        for aggregate in (TopK(name, 3), Collect(name, 3), Collect(pl.struct(x=name), 3)):
            types = [frame.select(x=read)["x"].dtype for read in aggregate.reads()]
            (refusal,) = aggregate.refusals(types)
            refused = frame.select(refused=refusal.condition)["refused"].to_list()
            assert refused == unfit
    assert Collect("n", 3).refusals([pl.Int64()]) == []
    (refusal,) = Collect("f", 3, where=pl.col("f").is_finite()).refusals([pl.Float64()])
    assert not frame.select(refusal.condition.any()).item()


@pytest.mark.parametrize(
    ("dtype", "hint"),
    [
        (pl.Binary(), "bin.encode"),
        (pl.Duration("ms"), "total_milliseconds"),
        (pl.List(pl.Int64()), "plain values"),
        (pl.Struct({"a": pl.Binary()}), "bin.encode"),
        (pl.Struct({"a": pl.Struct({"b": pl.Int64()})}), "plain values"),
        (pl.Null(), "plain values"),
    ],
)
def test_values_without_a_form_in_json_are_refused_at_declaration(
    dtype: pl.DataType, hint: str
) -> None:
    with pytest.raises(DeclarationError, match="Collect 'c' cannot show values of type") as caught:
        Collect("v", 3).merger("c", [dtype])
    assert hint in caught.value.hint
    with pytest.raises(DeclarationError, match="TopK 't' cannot show"):
        TopK("v", 3, by="n").merger("t", [dtype, pl.Int64()])


def test_structs_are_ordered_by_something_else() -> None:
    struct = pl.Struct({"a": pl.Int64()})
    with pytest.raises(DeclarationError, match="TopK 't' cannot order values of type Struct"):
        TopK("v", 3).merger("t", [struct])
    assert TopK("v", 3, by="n").merger("t", [struct, pl.Int64()]).result == pl.List(struct)
    with pytest.raises(DeclarationError, match="cannot order values of type List"):
        TopK("v", 3, by="n").merger("t", [struct, pl.List(pl.Int64())])


@pytest.mark.parametrize("count", [0, -1, 10_001, 2.5, None, True])
def test_how_many_is_a_number_in_range(count: Any) -> None:
    with pytest.raises(DeclarationError, match="TopK: k is"):
        TopK("v", count)
    with pytest.raises(DeclarationError, match="Collect: limit is"):
        Collect("v", count)
