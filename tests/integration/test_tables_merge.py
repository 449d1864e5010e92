"""Rows written in parts merge to the same row, however they were cut and whoever merges them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from kappa.errors import DataRefused
from kappa.tables import build, sink, views
from kappa.tables.finalize import Plain
from kappa.tables.layout import Column, Kind, Layout, ViewColumn
from kappa.tables.merge import MergeRule
from kappa.tables.sqltypes import BIGINT, BOOLEAN, BYTEA, NUMERIC, TEXT
from tests.integration.tables_scenes import (
    customer_rows,
    customers,
    item_rows,
    items,
    revenue,
    revenue_rows,
    stored,
)

Unique = Callable[[str], str]
SOME = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
MINUTE = 60_000

PARTS = st.lists(
    st.tuples(
        st.none() | st.sampled_from(["a", "b", ""]),
        st.sampled_from([0, MINUTE, 2 * MINUTE]),
        st.none() | st.integers(-1000, 1000),
        st.none() | st.integers(-(2**100), 2**100),
        st.none() | st.sampled_from(["x", "é", "Z", ""]),
        st.none() | st.sampled_from(["x", "é", "Z", ""]),
    ),
    max_size=12,
)


def grouped(frame: pl.DataFrame) -> pl.DataFrame:
    """What any merge must come to. Polars sums nothing to 0 where SQL has NULL."""

    def total(name: str) -> pl.Expr:
        return pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name)

    return frame.group_by("product", "window_start").agg(
        total("orders"),
        total("revenue__units"),
        pl.col("first_customer").min(),
        pl.col("last_customer").max(),
    )


def as_stored(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    start = pl.col("window_start").dt.strftime("%Y-%m-%d %H:%M:%S+00")
    return sorted(frame.with_columns(start).cast(pl.String).rows(), key=repr)


@SOME
@given(
    checkpoints=st.lists(PARTS, max_size=4), null_keys=st.booleans(), live_from=st.integers(0, 4)
)
def test_parts_merge_to_the_whole(
    engine: Engine,
    unique: Unique,
    checkpoints: list[list[tuple[Any, ...]]],
    null_keys: bool,
    live_from: int,
) -> None:
    """Some checkpoints are appended and merged at the end, the rest are upserted after it."""
    layout = revenue(unique("merge"), null_keys=null_keys)
    frames = [revenue_rows(rows) for rows in checkpoints]
    if not null_keys:
        frames = [frame.filter(pl.col("product").is_not_null()) for frame in frames]
    with engine.begin() as conn:
        build.create(conn, layout)
    for frame in frames[:live_from]:
        with engine.begin() as conn:
            sink.append(conn, layout, grouped(frame))
    with engine.begin() as conn:
        build.finish(conn, layout)
    for frame in frames[live_from:]:
        with engine.begin() as conn:
            sink.upsert(conn, layout, frame)
    with engine.begin() as conn:
        found = stored(conn, layout)
        build.drop(conn, layout.processor, layout.version)
    whole = grouped(pl.concat([revenue_rows([]), *frames]))
    assert sorted(found.rows(), key=repr) == as_stored(whole)


CHANGES = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["x", "y", None])), max_size=20
)


@SOME
@given(changes=CHANGES, cuts=st.lists(st.integers(0, 20), max_size=3), live_from=st.integers(0, 4))
def test_the_latest_row_wins_and_deletions_delete(
    engine: Engine,
    unique: Unique,
    changes: list[tuple[str, str | None]],
    cuts: list[int],
    live_from: int,
) -> None:
    layout = customers(unique("latest"))
    rows = [
        (customer, name, offset if name else None, offset, name is None)
        for offset, (customer, name) in enumerate(changes)
    ]
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    frames = [customer_rows(rows[a:b]) for a, b in pairwise(edges)]
    with engine.begin() as conn:
        build.create(conn, layout)
        for frame in frames[:live_from]:
            sink.append(conn, layout, frame)
        build.finish(conn, layout)
        for frame in frames[live_from:]:
            sink.upsert(conn, layout, frame)
        found = stored(conn, layout)
        build.drop(conn, layout.processor, layout.version)
    latest = {row[0]: row for row in rows}
    assert found.rows() == [
        (customer, name, str(credit), str(offset))
        for customer, name, credit, offset, deleted in sorted(latest.values())
        if not deleted
    ]


def test_an_older_row_or_deletion_changes_nothing(engine: Engine, unique: Unique) -> None:
    layout = customers(unique("old"))
    with engine.begin() as conn:
        build.create(conn, layout)
        build.finish(conn, layout)
        sink.upsert(conn, layout, customer_rows([("a", "new", 1, 9, False)]))
        sink.upsert(conn, layout, customer_rows([("a", "old", 1, 8, False)]))
        sink.upsert(conn, layout, customer_rows([("a", None, None, 7, True)]))
        assert stored(conn, layout)["name"].to_list() == ["new"]


@pytest.mark.parametrize("null_keys", [False, True])
@pytest.mark.parametrize("share", [0.01, 0.9])
def test_few_and_many_split_keys_merge_alike(
    engine: Engine, unique: Unique, null_keys: bool, share: float
) -> None:
    """Few are taken out and put back, for many the table is written anew."""
    layout = revenue(unique("many"), null_keys=null_keys)
    rows = [(f"p{number % 50}", number // 50 * MINUTE, 1, 10, "c", "c") for number in range(2000)]
    if null_keys:
        rows = [(None if product == "p7" else product, *rest) for product, *rest in rows]
    again = rows[-int(2000 * share) :]
    with engine.begin() as conn:
        build.create(conn, layout)
        sink.append(conn, layout, revenue_rows(rows))
    with engine.begin() as conn:
        sink.append(conn, layout, revenue_rows(again))
    with engine.begin() as conn:
        oid = text("SELECT CAST(CAST(:t AS regclass) AS oid)")
        before = conn.scalar(oid, {"t": layout.table})
        assert build.finish(conn, layout) == 2000
        assert (conn.scalar(oid, {"t": layout.table}) != before) == (share > 0.5)
        found = conn.execute(
            text(f"SELECT orders, sum(revenue__units) FROM {layout.table} GROUP BY 1 ORDER BY 1")
        ).all()
    assert [tuple(row) for row in found] == [
        (1, Decimal(10 * (2000 - len(again)))),
        (2, Decimal(20 * len(again))),
    ]


def test_a_key_twice_in_one_transaction_is_merged_all_the_same(
    engine: Engine, unique: Unique
) -> None:
    """The quick search trusts transactions to write a key once; the key itself does not."""
    layout = revenue(unique("twice"))
    with engine.begin() as conn:
        build.create(conn, layout)
        for _ in range(3):
            sink.append(conn, layout, revenue_rows([("a", 0, 2, 5, "c", "c")]))
    with engine.begin() as conn:
        assert build.finish(conn, layout) == 1
        assert stored(conn, layout).row(0)[2:4] == ("6", "15")


def test_sums_take_infinities_and_nan(engine: Engine, unique: Unique) -> None:
    layout = revenue(unique("inf"))
    units = {
        "nan": ["1", "NaN"],
        "up": ["Infinity", "5"],
        "down": ["-Infinity", "-7"],
        "both": ["Infinity", "-Infinity"],
    }
    rows = pl.DataFrame(
        [(name, 0, 1, value, None, None) for name, values in units.items() for value in values],
        schema=[column.name for column in layout.columns],
        orient="row",
    )
    for live in (False, True):
        with engine.begin() as conn:
            build.drop(conn, layout.processor, 1)
            build.create(conn, layout)
            if not live:
                sink.append(conn, layout, rows[:4])
                sink.append(conn, layout, rows[4:])
            build.finish(conn, layout)
            if live:
                for row in rows.iter_slices(1):
                    sink.upsert(conn, layout, row)
            found = conn.execute(views.select_view(layout).order_by(text("product"))).all()
        assert [(row.product, str(row.revenue)) for row in found] == [
            ("both", "nan"),
            ("down", "-inf"),
            ("nan", "nan"),
            ("up", "inf"),
        ]


def test_the_view_rounds_fixed_point_once(engine: Engine, unique: Unique) -> None:
    """0.1 + 0.2 in units of 2⁻³² and a sum no double holds come out correctly rounded."""
    layout = revenue(unique("round"))
    huge = 2**100 + 1
    with engine.begin() as conn:
        build.create(conn, layout)
        rows = [
            ("a", 0, 3, 3, None, None),
            ("b", 0, 0, None, None, None),
            ("c", 0, 1, huge, "", ""),
        ]
        sink.append(conn, layout, revenue_rows(rows))
        build.finish(conn, layout)
        a, b, c = conn.execute(views.select_view(layout).order_by(text("product"))).all()
    assert a.revenue == 3 * 2.0**-32
    assert a.mean == 2.0**-32
    assert (b.revenue, b.mean) == (None, None)
    assert c.revenue == float(Decimal(huge) / 2**32)
    assert a.window_end == datetime(1970, 1, 1, 0, 1, tzinfo=UTC)


def test_minima_of_booleans_and_bytes(engine: Engine, unique: Unique) -> None:
    layout = Layout(
        processor=unique("least"),
        version=1,
        kind=Kind.AGGREGATE,
        columns=(
            Column("k", BIGINT, MergeRule.KEY, nullable=False),
            Column("all_paid", BOOLEAN, MergeRule.MIN),
            Column("any_paid", BOOLEAN, MergeRule.MAX),
            Column("first", BYTEA, MergeRule.MIN),
            Column("last", BYTEA, MergeRule.MAX),
        ),
        key=("k",),
        view=(ViewColumn("k", Plain("k")),),
    )
    parts = pl.DataFrame(
        {
            "k": [1, 1, 1],
            "all_paid": [True, None, False],
            "any_paid": [True, None, False],
            "first": [b"b", None, b"\x00"],
            "last": [b"b", None, b"\x00"],
        }
    )
    with engine.begin() as conn:
        for live in (False, True):
            build.drop(conn, layout.processor, 1)
            build.create(conn, layout)
            if not live:
                sink.append(conn, layout, parts)
            build.finish(conn, layout)
            if live:
                for row in parts.iter_slices(1):
                    sink.upsert(conn, layout, row)
            assert stored(conn, layout).rows() == [("1", "false", "true", "\\x00", "\\x62")]


def test_a_table_of_keys_alone(engine: Engine, unique: Unique) -> None:
    layout = Layout(
        processor=unique("seen"),
        version=1,
        kind=Kind.AGGREGATE,
        columns=(Column("name", TEXT, MergeRule.KEY, nullable=False),),
        key=("name",),
        view=(ViewColumn("name", Plain("name")),),
    )
    with engine.begin() as conn:
        build.create(conn, layout)
        build.finish(conn, layout)
        for _ in range(2):
            sink.upsert(conn, layout, pl.DataFrame({"name": ["a", "b", "a"]}))
        assert stored(conn, layout)["name"].to_list() == ["a", "b"]


def test_appended_rows_stand_once(engine: Engine, unique: Unique) -> None:
    layout = items(unique("items"))
    with engine.begin() as conn:
        build.create(conn, layout)
        sink.append(conn, layout, item_rows(layout, 3))
        assert build.finish(conn, layout) == 3
        sink.upsert(conn, layout, item_rows(layout, 2, partition=1))
    with pytest.raises(DataRefused), engine.begin() as conn:
        sink.upsert(conn, layout, item_rows(layout, 1))
    with engine.begin() as conn:
        assert len(stored(conn, layout)) == 5


def test_an_overflowing_sum_is_refused_and_changes_nothing(engine: Engine, unique: Unique) -> None:
    layout = revenue(unique("over"))
    with engine.begin() as conn:
        build.create(conn, layout)
        build.finish(conn, layout)
        sink.upsert(conn, layout, revenue_rows([("a", 0, 2**63 - 1, 0, None, None)]))
    with pytest.raises(DataRefused), engine.begin() as conn:
        sink.upsert(conn, layout, revenue_rows([("b", 0, 1, 0, "", ""), ("a", 0, 1, 0, "", "")]))
    with engine.begin() as conn:
        assert stored(conn, layout)["orders"].to_list() == [str(2**63 - 1)]


def test_numeric_columns_take_decimals(engine: Engine, unique: Unique) -> None:
    layout = revenue(unique("dec"))
    frame = revenue_rows([("a", 0, 1, 5, None, None)]).with_columns(
        pl.lit(Decimal("1.25")).alias("revenue__units")
    )
    with engine.begin() as conn:
        build.create(conn, layout)
        build.finish(conn, layout)
        sink.upsert(conn, layout, frame)
        sink.upsert(conn, layout, frame)
        assert stored(conn, layout)["revenue__units"].to_list() == ["2.50"]
    assert layout.columns[3].type == NUMERIC
