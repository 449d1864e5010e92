"""Distinct values: exactly those of a set, or as many as HyperLogLog's error allows."""

from __future__ import annotations

import math
from datetime import UTC
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.errors import DeclarationError, TableError
from kappa.processing.aggregates.sketches.distinct import CountDistinct
from kappa.processing.aggregates.sketches.registers import Registers, estimates
from kappa.processing.aggregates.worker_merged import merged_by_group
from tests.worker_merged import (
    NAME,
    check_any_split,
    column_of,
    cuts,
    in_parts,
    partials,
    records,
    result,
    results,
)

MOST = 30
VALUES: dict[str, tuple[pl.DataType, st.SearchStrategy[Any]]] = {
    "integers": (pl.Int64(), st.sampled_from([-(2**63), -1, 0, 1, 7, 2**63 - 1])),
    "unsigned": (pl.UInt64(), st.sampled_from([0, 1, 2**63, 2**64 - 1])),
    "floats": (pl.Float64(), st.sampled_from([0.0, -0.0, math.nan, -math.nan, math.inf, 5e-324])),
    "decimals": (pl.Decimal(38, 2), st.decimals(-2, 2, places=2)),
    "text": (pl.String(), st.sampled_from(["", "a", "é", "a\0", "😀"])),
    "bytes": (pl.Binary(), st.sampled_from([b"", b"\0", b"a", b"\xff"])),
    "flags": (pl.Boolean(), st.booleans()),
    "dates": (pl.Date(), st.dates()),
    "moments": (
        pl.Datetime("us", "UTC"),
        st.datetimes().map(lambda moment: moment.replace(tzinfo=UTC)),
    ),
}


def distinct(value: Any) -> Any:
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("kind", VALUES)
@settings(max_examples=40)
@given(data=st.data(), plan=cuts(MOST))
def test_any_split_counts_the_set(
    kind: str, exact: bool, data: st.DataObject, plan: tuple[list[int], list[int]]
) -> None:
    dtype, values = VALUES[kind]
    drawn = data.draw(st.lists(st.none() | values, max_size=MOST))
    groups = [str(place % 3) for place in range(len(drawn))]
    frame = records({"v": drawn, "k": groups}, {"v": dtype, "k": pl.String()})
    found = check_any_split(CountDistinct("v", exact=exact), frame, plan)
    wanted = {
        group: len({distinct(v) for v, g in zip(drawn, groups, strict=True) if g == group} - {None})
        for group in groups
    }
    assert found == wanted  # so few distinct values HyperLogLog counts to the one


@pytest.mark.parametrize("precision", [7, 9, 12, 16])
@pytest.mark.parametrize("count", [10, 1_000, 100_000])
def test_estimates_err_no_more_than_they_may(precision: int, count: int) -> None:
    """Over many sets of values; the bound is of the root of the mean square of the errors."""
    seeds = 20
    errors = []
    for seed in range(seeds):
        values = np.arange(count) + seed * 10_000_000
        frame = records({"v": values}, {"v": pl.Int64()})
        estimated = result(CountDistinct("v", exact=False, precision=precision), frame)
        errors.append(estimated / count - 1)
    allowed = 1.04 / math.sqrt(1 << precision) + 0.5 / count
    root = math.sqrt(sum(error**2 for error in errors) / seeds)
    assert root < 1.6 * allowed  # of 20 normal errors, beyond this once in 100,000 times
    assert abs(sum(errors) / seeds) < 4 * allowed / math.sqrt(seeds)


@pytest.mark.parametrize("precision", [7, 12])
@pytest.mark.parametrize("sizes", [(3, 2_000), (5_000, 5_000), (1, 1), (900, 500)])
def test_registers_of_a_union_are_the_merged_ones(precision: int, sizes: tuple[int, int]) -> None:
    """Few registers are written one way and many another: whatever meets, bytes are the same."""
    aggregate = CountDistinct("v", exact=False, precision=precision)
    left, right = (
        records({"v": np.arange(size) * step}, {"v": pl.Int64()})
        for size, step in zip(sizes, (1, 3), strict=True)
    )
    column = column_of(aggregate, left)
    union = partials(column, pl.concat([left, right]))
    assert in_parts(column, [left, right]).rows() == union.rows()
    assert in_parts(column, [right, left, left]).rows() == union.rows()


def slowly_estimated(held: list[int]) -> float:
    """Ertl's estimator as in the paper (its algorithm 6), with terms in exact fractions."""
    registers = sum(held)
    last = len(held) - 1

    def sigma(x: Decimal) -> Decimal:
        if x == 1:
            return Decimal("Infinity")
        return x + sum((Decimal(2) ** (k - 1) * x ** (2**k) for k in range(1, 40)), Decimal(0))

    def tau(x: Decimal) -> Decimal:
        if x in (0, 1):
            return Decimal(0)
        terms = (Decimal(2) ** -k * (1 - x ** (Decimal(2) ** -k)) ** 2 for k in range(1, 60))
        return (1 - x - sum(terms, Decimal(0))) / 3

    total = registers * tau(1 - Decimal(held[last]) / registers) * Decimal(2) ** -(last - 1)
    total += sum(Decimal(held[k]) * Decimal(2) ** -k for k in range(1, last))
    total += registers * sigma(Decimal(held[0]) / registers)
    alpha = 1 / (2 * Decimal(2).ln())
    return float(alpha * registers * registers / total)


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(0, 40), min_size=54, max_size=54), min_size=1, max_size=4))
def test_the_estimator_is_the_papers_and_ignores_its_neighbours(rows: list[list[int]]) -> None:
    rows = [[*row[:-2], row[-2] + (not any(row[:-1])), row[-1]] for row in rows]
    found = estimates(np.array(rows))
    for row, one in zip(rows, found.tolist(), strict=True):
        assert estimates(np.array([row])).tolist() == [one]
        if row[0] < sum(row):
            assert math.isclose(one, slowly_estimated(row), rel_tol=1e-9)
        else:
            assert one == 0.0


def test_a_group_without_values_counts_none() -> None:
    frame = records({"v": [None, None]}, {"v": pl.String()})
    for exact in (True, False):
        column = column_of(CountDistinct("v", exact=exact), frame)
        nothing = partials(column, frame)
        assert nothing[column.partial].to_list() == [None]
        assert results(column, nothing) == {"a": 0}


def test_where_leaves_records_out() -> None:
    frame = records({"v": [1, 2, 3, 3]}, {"v": pl.Int64()})
    assert result(CountDistinct("v", where=pl.col("v") > 1), frame) == 2
    assert result(CountDistinct(pl.col("v") % 2, where=pl.col("v") > 9), frame) == 0


def test_the_bytes_are_what_is_written_down() -> None:
    """Partials are stored, and compared between machines: these may never change."""
    frame = records(
        {"n": [5, 3, None, 300], "t": ["b", "a", None, "b"], "b": [b"b", b"", None, b"b"]},
        {"n": pl.Int64(), "t": pl.String(), "b": pl.Binary()},
    )
    written = {
        (name, exact): partials(column_of(CountDistinct(name, exact=exact), frame), frame).row(0)[1]
        for name in ("n", "t", "b")
        for exact in (True, False)
    }
    assert written["n", True] == b"\x01\x93\x03\x02\xcd\x01\x27"
    assert written["t", True] == b"\x02\x92\xa1a\xa1b"
    assert written["b", True] == b"\x03\x92\xc4\x00\xc4\x01b"
    assert written["n", False].hex() == "0493cd8682cd11c0ce000111c2"
    assert written["t", False] == written_slowly([b"a", b"b"], 12)
    assert written["b", False] == written_slowly([b"", b"b"], 12)


def written_slowly(values: list[bytes], precision: int) -> bytes:
    """The partial of a few values by HyperLogLog's definition, over XXH64."""
    registers: dict[int, int] = {}
    for value in values:
        bits = f"{xxh64(value):064b}"
        number, others = int(bits[:precision], 2), bits[precision:]
        place = others.find("1") + 1 or len(others) + 1
        registers[number] = max(registers.get(number, 0), place)
    codes = sorted(number * 64 + place for number, place in registers.items())
    steps = [code - before for code, before in zip(codes, [0, *codes], strict=False)]
    return b"\x04" + msgspec.msgpack.encode(steps)


def xxh64(data: bytes) -> int:
    """XXH64 of less than four bytes, with seed 0, as its specification has it."""
    assert len(data) < 4
    whole = 2**64 - 1
    first, second, third = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
    state = (0x27D4EB2F165667C5 + len(data)) & whole
    for byte in data:
        state ^= byte * 0x27D4EB2F165667C5 & whole
        state = (state << 11 | state >> 53) * first & whole
    state = (state ^ state >> 33) * second & whole
    state = (state ^ state >> 29) * third & whole
    return state ^ state >> 32


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=3), min_size=1, max_size=20), st.sampled_from([7, 12, 16]))
def test_registers_are_those_of_the_definition(values: list[bytes], precision: int) -> None:
    frame = records({"v": values}, {"v": pl.Binary()})
    aggregate = CountDistinct("v", exact=False, precision=precision)
    (partial,) = partials(column_of(aggregate, frame), frame)[f"{NAME}__partial"]
    assert partial == written_slowly(values, precision)


def test_a_partial_of_another_format_is_refused() -> None:
    frame = records({"v": [1], "t": ["1"]}, {"v": pl.Int64(), "t": pl.String()})
    numbers = column_of(CountDistinct("v"), frame)
    texts = column_of(CountDistinct("t"), frame)
    both = pl.concat([partials(numbers, frame), partials(texts, frame)])
    with pytest.raises(TableError, match="format 02, not 01"):
        merged_by_group(both, ["k"], [numbers])


@pytest.mark.parametrize("precision", [6, 17, 12.0, None])
def test_a_precision_out_of_range_is_refused(precision: Any) -> None:
    with pytest.raises(DeclarationError, match="CountDistinct: precision is") as caught:
        CountDistinct("v", exact=False, precision=precision)
    assert "from 7 to 16" in caught.value.hint


def test_nested_values_are_refused() -> None:
    with pytest.raises(DeclarationError, match="'tags' cannot compare values of type List"):
        CountDistinct("v").merger("tags", [pl.List(pl.String())])


def test_the_hash_is_spread_over_all_registers() -> None:
    codes = (
        pl.DataFrame({"v": range(200_000)})
        .select(Registers(pl.Int64(), 7).prepared([pl.col("v")], pl.lit(0)))
        .to_series()
    )
    per_register = (codes // 64).value_counts()["count"]
    assert len(per_register) == 128
    assert all(1_400 < registers < 1_730 for registers in per_register)
    halves = (codes % 64 == 1).mean()
    assert isinstance(halves, float)
    assert math.isclose(halves, 0.5, abs_tol=0.01)
