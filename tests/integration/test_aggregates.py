"""PostgreSQL merges and shows aggregates as Python does, to the bit, however rows were written."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from kappa.processing.aggregates.declared import Count, Max, Min, SqlMerged
from kappa.processing.aggregates.partials import merging, settle
from kappa.processing.aggregates.picks import ArgMax, ArgMin, First, Last
from kappa.processing.aggregates.sums import Mean, Stddev, Sum, Variance
from kappa.tables import build, finalize, sink, views
from kappa.tables.layout import Column, Kind, Layout, ViewColumn
from kappa.tables.merge import MergeRule
from kappa.tables.sqltypes import BIGINT, NUMERIC, REAL, TEXT
from kappa.versions.finalized import finalized, stored_column
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

Unique = Callable[[str], str]
EVERY = every_aggregate()
KINDS = [[Count, Sum, Mean, Min, Max], [Variance, Stddev], [First, Last], [ArgMin, ArgMax]]


def layout_of(processor: str, aggregates: dict[str, SqlMerged]) -> Layout:
    partials = [p for p in partials_of(aggregates) if not p.internal]
    shown = {n: finalized(a.shown(n, input_types(a))) for n, a in aggregates.items()}
    return Layout(
        processor=processor,
        version=1,
        kind=Kind.AGGREGATE,
        columns=(
            Column("key", TEXT, MergeRule.KEY, nullable=False),
            *(stored_column(partial) for partial in partials),
        ),
        key=("key",),
        view=(
            ViewColumn("key", finalize.Plain("key")),
            *(ViewColumn(name, column) for name, column in shown.items()),
        ),
    )


def parts(rows: Sequence[Row], aggregates: dict[str, SqlMerged]) -> pl.DataFrame:
    """What a fold that has seen these rows would store."""
    partials = partials_of(aggregates)
    merged = lifted(rows, partials).group_by("key").agg(merging(p) for p in partials)
    return pl.concat([merged.select("key"), settle(merged, partials)], how="horizontal")


def viewed(engine: Engine, layout: Layout) -> dict[str, dict[str, Any]]:
    """The view's rows by key. Of ``real``, PostgreSQL writes as few digits as tell it apart."""
    singles = [column.name for column in layout.columns if column.type == REAL]
    with engine.begin() as conn:
        rows = [dict(row) for row in conn.execute(views.select_view(layout)).mappings()]
    for row in rows:
        row |= {name: _single(row[name]) for name in singles if row.get(name) is not None}
    return {row["key"]: row for row in rows}


def _single(value: float) -> float:
    (single,) = struct.unpack("f", struct.pack("f", value))
    assert isinstance(single, float)
    return single


def check(
    found: dict[str, dict[str, Any]], rows: Sequence[Row], aggregates: dict[str, SqlMerged]
) -> None:
    in_python = {row["key"]: row for row in parts(rows, aggregates).iter_rows(named=True)}
    assert found.keys() == in_python.keys()
    for key, row in found.items():
        of_key = [r for r in rows if r["key"] == key]
        for name, aggregate in aggregates.items():
            shown = aggregate.shown(name, input_types(aggregate)).value(in_python[key])
            wanted = expected(aggregate, of_key)
            assert same(row[name], shown), (name, row[name], shown)
            assert same(row[name], wanted), (name, row[name], wanted)


@pytest.mark.parametrize("kinds", KINDS)
@given(
    rows=records(),
    shares=st.integers(1, 4),
    live_from=st.integers(0, 4),
    one_by_one=st.booleans(),
    rng=st.randoms(use_true_random=False),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_in_parts_come_to_what_the_reference_shows(
    engine: Engine,
    unique: Unique,
    kinds: Sequence[type[SqlMerged]],
    rows: list[Row],
    shares: int,
    live_from: int,
    one_by_one: bool,
    rng: random.Random,
) -> None:
    """Some parts are copied in and merged at the end of the build, the others upserted."""
    of_kinds = [name for name, aggregate in EVERY.items() if type(aggregate) in kinds]
    aggregates = {name: EVERY[name] for name in rng.sample(of_kinds, 8)}
    layout = layout_of(unique("agg"), aggregates)
    written: list[list[Row]] = [[] for _ in range(shares)]
    for row in rows:
        rng.choice(written).append(row)
    with engine.begin() as conn:
        build.create(conn, layout)
    for share in written[:live_from]:
        with engine.begin() as conn:
            sink.append(conn, layout, parts(share, aggregates))
    with engine.begin() as conn:
        build.finish(conn, layout)
    for share in written[live_from:]:
        for piece in [[row] for row in share] if one_by_one else [share]:
            with engine.begin() as conn:
                sink.upsert(conn, layout, parts(piece, aggregates))
    found = viewed(engine, layout)
    with engine.begin() as conn:
        build.drop(conn, layout.processor, layout.version)
    check(found, rows, aggregates)


@pytest.mark.parametrize("live", [False, True])
def test_many_rows_of_few_keys(engine: Engine, unique: Unique, live: bool) -> None:
    """Enough parts that the build writes its table anew; staged parts of one key are grouped."""
    rng = random.Random(7)
    empty = dict.fromkeys(SCHEMA)
    rows: list[Row] = [
        {
            **empty,
            "key": f"k{rng.randrange(20)}",
            "rank": rank,
            "paid": rng.choice([True, False, None]),
            "double": rng.choice([None, rng.gauss(1e5, 1e3), rng.random()]),
            "text": rng.choice([None, "a", "é", ""]),
            "list": [rank],
        }
        for rank in rng.sample(range(10_000), 2_000)
    ]
    aggregates = {n: a for n, a in EVERY.items() if "double" in n or "text" in n or "list" in n}
    layout = layout_of(unique("many"), aggregates)
    with engine.begin() as conn:
        build.create(conn, layout)
        if live:
            build.finish(conn, layout)
    for begin in range(0, len(rows), 250):
        share = rows[begin : begin + 250]
        with engine.begin() as conn:
            if live:
                each = [parts(share[n::3], aggregates) for n in range(3)]
                sink.upsert(conn, layout, pl.concat(each, how="vertical_relaxed"))
            else:
                sink.append(conn, layout, parts(share, aggregates))
    with engine.begin() as conn:
        assert build.finish(conn, layout) == 20
    check(viewed(engine, layout), rows, aggregates)


@pytest.mark.parametrize(("bits", "digits"), [(32, 0), (0, 0), (0, 2), (0, 38)])
@pytest.mark.parametrize("population", [False, True])
def test_a_variance_is_rounded_once(
    engine: Engine, unique: Unique, bits: int, digits: int, population: bool
) -> None:
    """Whatever the sums are: far apart, nearly equal, or right between two doubles."""
    rng = random.Random(bits + digits)
    name = unique("variance")
    layout = Layout(
        processor=name,
        version=1,
        kind=Kind.AGGREGATE,
        columns=(
            Column("n", BIGINT, MergeRule.KEY, nullable=False),
            Column("units", NUMERIC, MergeRule.SUM),
            Column("squares", NUMERIC, MergeRule.SUM),
            Column("count", BIGINT, MergeRule.SUM),
        ),
        key=("n",),
        view=(
            ViewColumn("n", finalize.Plain("n")),
            ViewColumn(
                "x",
                finalize.Variance("units", "squares", "count", bits, digits, population),
            ),
        ),
    )
    sums = []
    for _ in range(400):
        count = rng.choice([1, 2, 3, 7, 1000, rng.randrange(1, 2**40)])
        units = rng.choice([0, 1, rng.getrandbits(60), -rng.getrandbits(100)])
        least = -(-units * units // count)
        spread = rng.choice([0, 1, rng.getrandbits(54), 2 * rng.getrandbits(53) + 1])
        sums.append((units, least + (spread << rng.choice([0, 10, 100])), count))
    frame = pl.DataFrame(
        {
            "n": range(len(sums)),
            "units": [str(units) for units, _, _ in sums],
            "squares": [str(squares) for _, squares, _ in sums],
            "count": [count for _, _, count in sums],
        }
    )
    with engine.begin() as conn:
        build.create(conn, layout)
        sink.append(conn, layout, frame)
        build.finish(conn, layout)
        found = conn.execute(views.select_view(layout).order_by(text("n"))).all()
    for (units, squares, count), (_, variance) in zip(sums, found, strict=True):
        if count < 2 and not population:
            assert variance is None
            continue
        below = count * (count if population else count - 1) * 10 ** (2 * digits) * 4**bits
        assert same(variance, float(Fraction(count * squares - units * units, below)))
