"""Rows stored in parts merge to the row that all records at once would have made."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.processing.aggregates.declared import Count, Max, SqlMerged
from kappa.processing.aggregates.kept import Kept
from kappa.processing.aggregates.picks import Last
from kappa.processing.aggregates.remerge import Remerge
from kappa.processing.aggregates.sketches.chosen import Collect, TopK
from kappa.processing.aggregates.sketches.distinct import CountDistinct
from kappa.processing.aggregates.sketches.own import Merged
from kappa.processing.aggregates.sketches.quantiles import Quantiles
from kappa.processing.aggregates.sums import Mean, Sum
from kappa.processing.aggregates.worker_merged import RANK, WorkerMerged, merged_column
from tests.worker_merged import cut, cuts

MOST = 20
KEY = {"user": pl.String(), "window_start": pl.Datetime("ms", "UTC")}
TYPES: dict[str, pl.DataType] = {
    **KEY,
    "amount": pl.Float64(),
    "cents": pl.Int64(),
    "city": pl.String(),
}
WORKER: dict[str, WorkerMerged] = {
    "cities": CountDistinct("city"),
    "about": CountDistinct("cents", exact=False),
    "median": Quantiles("cents", at=0.5),
    "top": TopK("city", 2, by="cents"),
    "first": Collect(pl.struct("cents", "city"), 3, where=pl.col("cents") > 0),
    "own": Merged(
        "cents",
        partial=lambda rows: int(rows["cents"].sum()),
        merge=lambda left, right: left + right,
        finalize=str,
        result=pl.String,
    ),
}
SQL: dict[str, SqlMerged] = {
    "count": Count(),
    "sum": Sum("amount"),
    "mean": Mean("amount"),
    "max": Max("city"),
    "last": Last("city"),
}
ROWS = st.lists(
    st.tuples(
        st.none() | st.sampled_from("ab"),
        st.sampled_from([0, 60_000]),
        st.none() | st.sampled_from([0.1, -2.5, math.nan, math.inf]),
        st.none() | st.integers(-3, 9),
        st.none() | st.sampled_from(["Rome", "Oslo", ""]),
    ),
    min_size=1,
    max_size=MOST,
)


def kept(sql: dict[str, SqlMerged], worker: dict[str, WorkerMerged]) -> Kept:
    def types(reads: list[pl.Expr]) -> list[pl.DataType]:
        typed = pl.LazyFrame(schema=TYPES)
        return [typed.select(x=read).collect_schema()["x"] for read in reads]

    rank = pl.col("rank")
    partials = [p for n, a in sql.items() for p in a.partials(n, types(a.reads()), rank)]
    merged = [merged_column(n, a, types(a.reads())) for n, a in worker.items()]
    return Kept(partials, merged, rank)


def stored(keeps: Kept, records: pl.DataFrame) -> pl.DataFrame:
    """The rows of the table, by key, that these records make."""
    lifted = records.select(*KEY, *keeps.lifting())
    grouped = keeps.of_records(lifted, list(KEY)).sort(*KEY)
    return pl.concat([grouped.select(*KEY), keeps.stored(grouped)], how="horizontal")


def as_text(rows: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Rows to compare, whatever type numbers travel in."""
    return sorted(
        (tuple(str(value) for value in row) for row in rows.rows()), key=lambda row: row[:2]
    )


@pytest.mark.parametrize("sql", [{}, SQL], ids=["worker", "both"])
@settings(max_examples=60)
@given(rows=ROWS, plan=cuts(MOST))
def test_parts_merge_to_the_row_of_all_records(
    sql: dict[str, SqlMerged], rows: list[tuple[Any, ...]], plan: tuple[list[int], list[int]]
) -> None:
    keeps = kept(sql, WORKER)
    records = pl.DataFrame(rows, schema=list(TYPES), orient="row", infer_schema_length=None)
    records = records.select(
        *(
            pl.col(name).cast(pl.Int64).cast(dtype)
            if dtype.is_temporal()
            else pl.col(name).cast(dtype)
            for name, dtype in TYPES.items()
        ),
        rank=pl.int_range(pl.len()).cast(pl.Int128),
    )
    remerge = Remerge(KEY, keeps)
    parts = [
        stored(keeps, part).select(pl.col(n).cast(t) for n, t in remerge.schema.items())
        for part in cut(records, plan)
    ]
    merged = remerge(pl.concat(parts))
    whole = stored(keeps, records)
    assert merged.columns == whole.columns
    assert as_text(merged) == as_text(whole)
    assert RANK not in merged.columns


def test_no_rows_merge_to_none() -> None:
    remerge = Remerge(KEY, kept(SQL, WORKER))
    merged = remerge(remerge.schema.to_frame())
    assert merged.is_empty()
    assert set(merged.columns) >= {"user", "window_start", "cities", "cities__partial", "count"}
