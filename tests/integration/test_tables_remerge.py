"""Rows that only a worker can merge: built in parts, upserted or at once, they are alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from kappa.errors import TableError
from kappa.processing.aggregates.declared import Count
from kappa.processing.aggregates.kept import Kept
from kappa.processing.aggregates.remerge import Remerge
from kappa.processing.aggregates.sketches.chosen import Collect
from kappa.processing.aggregates.sketches.distinct import CountDistinct
from kappa.processing.aggregates.sketches.quantiles import Quantiles
from kappa.processing.aggregates.sums import Sum
from kappa.processing.aggregates.worker_merged import merged_column
from kappa.tables import build, sink
from kappa.tables import remerge as remerging
from kappa.tables.finalize import Plain
from kappa.tables.layout import Column, Kind, Layout, ViewColumn
from kappa.tables.merge import MergeRule
from kappa.tables.sqltypes import BIGINT, BYTEA, DOUBLE, JSONB, NUMERIC, TEXT, TIMESTAMPTZ
from tests.integration.tables_scenes import stored

Unique = Callable[[str], str]
SOME = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
KEY = {"window_start": pl.Datetime("ms", "UTC"), "reader": pl.String(), "shelf": pl.String()}
TYPES: dict[str, pl.DataType] = {**KEY, "book": pl.String(), "pages": pl.Float64()}
MINUTE = 60_000


def reading(name: str) -> Layout:
    """What readers read by minute and shelf, which may be NULL."""
    merged = {"books": BIGINT, "median": DOUBLE, "first": JSONB}
    return Layout(
        processor=name,
        version=1,
        kind=Kind.AGGREGATE,
        columns=(
            Column("window_start", TIMESTAMPTZ, MergeRule.KEY, nullable=False),
            Column("reader", TEXT, MergeRule.KEY, nullable=False),
            Column("shelf", TEXT, MergeRule.KEY),
            Column("loans", BIGINT, MergeRule.SUM),
            Column("pages__units", NUMERIC, MergeRule.SUM),
            *(
                column
                for name, shown in merged.items()
                for column in (
                    Column(f"{name}__partial", BYTEA, MergeRule.REPLACED),
                    Column(name, shown, MergeRule.REPLACED),
                )
            ),
        ),
        key=("window_start", "reader", "shelf"),
        view=tuple(ViewColumn(name, Plain(name)) for name in merged),
    )


def kept() -> Kept:
    rank = pl.col("rank")
    partials = [
        *Count().partials("loans", [], rank),
        *Sum("pages").partials("pages", [pl.Float64()], rank),
    ]
    merged = [
        merged_column("books", CountDistinct("book"), [pl.String()]),
        merged_column("median", Quantiles("pages", at=0.5), [pl.Float64()]),
        merged_column("first", Collect("book", 2), [pl.String()]),
    ]
    return Kept(partials, merged, rank)


KEPT = kept()
REMERGE = Remerge(KEY, KEPT)


def records(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    """Minute, reader, shelf, book and pages of each loan, in the order of time."""
    frame = pl.DataFrame(rows, schema=list(TYPES), orient="row", infer_schema_length=None)
    start = (pl.col("window_start").cast(pl.Int64) * MINUTE).cast(KEY["window_start"])
    others = (pl.col(name).cast(TYPES[name]) for name in list(TYPES)[1:])
    return frame.select(start, *others, rank=pl.int_range(pl.len()).cast(pl.Int128))


def rows_of(loans: pl.DataFrame) -> pl.DataFrame:
    """A row per key, as a checkpoint writes it."""
    lifted = loans.select(*KEY, *KEPT.lifting())
    grouped = KEPT.of_records(lifted, list(KEY))
    return pl.concat([grouped.select(*KEY), KEPT.stored(grouped)], how="horizontal")


def written(conn: Connection, layout: Layout, checkpoints: list[pl.DataFrame]) -> None:
    build.create(conn, layout)
    for loans in checkpoints:
        sink.append(conn, layout, rows_of(loans))


def at_once(conn: Connection, name: str, loans: pl.DataFrame) -> list[tuple[Any, ...]]:
    """The table that all loans in one checkpoint make."""
    layout = reading(name)
    written(conn, layout, [loans])
    build.finish(conn, layout, REMERGE)
    found = stored(conn, layout).rows()
    build.drop(conn, layout.processor, 1)
    return found


LOANS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from("ab"),
        st.none() | st.sampled_from(["x", ""]),
        st.none() | st.sampled_from(["Emma", "Ulysses", "Dune"]),
        st.none() | st.sampled_from([0.5, 12.0, -0.0, 300.25]),
    ),
    min_size=1,
    max_size=30,
)


@SOME
@given(loans=LOANS, cuts=st.lists(st.integers(0, 30), max_size=4), live_from=st.integers(0, 5))
def test_builds_upserts_and_one_go_are_alike(
    engine: Engine, unique: Unique, loans: list[tuple[Any, ...]], cuts: list[int], live_from: int
) -> None:
    """Some checkpoints are appended and merged at the end, the rest are upserted after it."""
    layout = reading(unique("alike"))
    frame = records(loans)
    ends = [*sorted(min(cut, len(frame)) for cut in cuts), len(frame)]
    checkpoints = [frame[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    with engine.begin() as conn:
        build.create(conn, layout)
    for part in checkpoints[:live_from]:
        with engine.begin() as conn:
            sink.append(conn, layout, rows_of(part))
    with engine.begin() as conn:
        build.finish(conn, layout, REMERGE)
    for part in checkpoints[live_from:]:
        with engine.begin() as conn:
            sink.upsert(conn, layout, rows_of(part), REMERGE)
    with engine.begin() as conn:
        found = stored(conn, layout).rows()
        build.drop(conn, layout.processor, 1)
        assert found == at_once(conn, unique("once"), frame)


@pytest.mark.parametrize("chunk", [1, 2_000, 32 << 20])
@pytest.mark.parametrize("share", [0.02, 0.9])
def test_few_and_many_split_keys_in_few_and_many_chunks(
    engine: Engine, unique: Unique, monkeypatch: pytest.MonkeyPatch, chunk: int, share: float
) -> None:
    """Few are taken out of the table, for many it is written anew; a chunk never cuts a key."""
    monkeypatch.setattr(remerging, "_CHUNK_BYTES", chunk)
    layout = reading(unique("many"))
    loans = [(n // 10, f"r{n % 10}", None if n % 3 else "x", f"book {n}", n) for n in range(300)]
    again = [(*loan[:3], "another", 7.5) for loan in loans[-int(300 * share) :]]
    frame = records([*loans, *again])
    with engine.begin() as conn:
        written(conn, layout, [frame[:300]])
    with engine.begin() as conn:
        sink.append(conn, layout, rows_of(frame[300:]))
    with engine.begin() as conn:
        oid = text("SELECT CAST(CAST(:t AS regclass) AS oid)")
        before = conn.scalar(oid, {"t": layout.table})
        assert build.finish(conn, layout, REMERGE) == 300
        assert (conn.scalar(oid, {"t": layout.table}) != before) == (share > 0.5)
        assert stored(conn, layout).rows() == at_once(conn, unique("once"), frame)


def test_a_key_written_in_three_parts_by_one_transaction(engine: Engine, unique: Unique) -> None:
    """The quick search trusts transactions to write a key once; the key itself does not."""
    layout = reading(unique("thrice"))
    frame = records([(0, "a", None, f"book {n}", n) for n in range(3)])
    with engine.begin() as conn:
        written(conn, layout, [frame[n : n + 1] for n in range(3)])
    with engine.begin() as conn:
        assert build.finish(conn, layout, REMERGE) == 1
        assert build.finish(conn, layout, REMERGE) == 1
        row = stored(conn, layout).row(0, named=True)
    assert (row["loans"], row["books"], row["first"]) == ("3", "3", '["book 0", "book 1"]')


def test_parts_of_a_key_in_one_upsert(engine: Engine, unique: Unique) -> None:
    layout = reading(unique("twice"))
    frame = records([(0, "a", None, "Emma", 1.0), (0, "a", None, "Dune", 2.0)])
    with engine.begin() as conn:
        written(conn, layout, [])
        build.finish(conn, layout)
        for _ in range(2):
            both = pl.concat([rows_of(frame[:1]), rows_of(frame[1:])])
            sink.upsert(conn, layout, both, REMERGE)
        row = stored(conn, layout).row(0, named=True)
    assert (row["loans"], row["books"], row["pages__units"]) == ("4", "2", str(6 * 2**32))


def test_rows_that_need_a_worker_are_not_merged_without_one(engine: Engine, unique: Unique) -> None:
    layout = reading(unique("alone"))
    frame = records([(0, "a", "x", "Emma", 1.0)] * 2)
    with engine.begin() as conn:
        written(conn, layout, [frame[:1], frame[1:]])
    with pytest.raises(TableError, match=layout.table), engine.begin() as conn:
        build.finish(conn, layout)
    with engine.begin() as conn:
        assert not build.is_finished(conn, layout)
        build.finish(conn, layout, REMERGE)
    with pytest.raises(TableError, match=layout.table), engine.begin() as conn:
        sink.upsert(conn, layout, rows_of(frame))


def test_postgresql_hears_of_a_long_merge_between_its_chunks(
    engine: Engine, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends a transaction of which it hears nothing for too long."""
    layout = reading(unique("slow"))
    books = [(number % 4, "a", None, f"book {number}", 1.0) for number in range(12)]
    frame = records(books)
    heard: list[object] = []

    class Slow:
        schema = REMERGE.schema

        def __call__(self, rows: pl.DataFrame) -> pl.DataFrame:
            with engine.connect() as beside:
                heard.append(beside.scalar(last, {"pid": pid}))
            return REMERGE(rows)

    last = text("SELECT state_change FROM pg_stat_activity WHERE pid = :pid")
    with engine.begin() as conn:
        written(conn, layout, [frame[:4], frame[4:8]])
        build.finish(conn, layout, REMERGE)
    monkeypatch.setattr(remerging, "_CHUNK_BYTES", 1)
    with engine.begin() as conn:
        pid = conn.scalar(text("SELECT pg_backend_pid()"))
        sink.upsert(conn, layout, rows_of(frame[8:]), Slow())
        assert len(set(heard)) == len(heard) == 4, "one for each key"
        assert stored(conn, layout).rows() == at_once(conn, unique("once"), frame)


def test_an_upsert_that_is_rolled_back_changes_nothing(engine: Engine, unique: Unique) -> None:
    layout = reading(unique("undone"))
    frame = records([(0, "a", "x", "Emma", 1.0), (0, "a", "x", "Dune", 2.0)])
    with engine.begin() as conn:
        written(conn, layout, [frame[:1]])
        build.finish(conn, layout, REMERGE)
        before = stored(conn, layout).rows()
    with engine.connect() as conn:
        sink.upsert(conn, layout, rows_of(frame[1:]), REMERGE)  # never committed
    with engine.begin() as conn:
        assert stored(conn, layout).rows() == before
        sink.upsert(conn, layout, rows_of(frame[1:]), REMERGE)
        assert stored(conn, layout).rows() == at_once(conn, unique("once"), frame)
