"""Worker-merged aggregates over records drawn at random, cut and ordered in any way."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import polars as pl
from hypothesis import strategies as st

from kappa.processing.aggregates.worker_merged import (
    RANK,
    MergedColumn,
    WorkerMerged,
    merged_by_group,
    merged_column,
    partials_by_group,
    with_results,
)

NAME = "it"


def records(columns: dict[str, Sequence[Any]], types: dict[str, pl.DataType]) -> pl.DataFrame:
    """Records of these columns, each with its rank; all of the one group ``k`` unless given."""
    frame = pl.DataFrame(dict(columns), schema=types, strict=False)
    if "k" not in frame.columns:
        frame = frame.with_columns(k=pl.lit("a"))
    return frame.with_columns(pl.int_range(pl.len()).cast(pl.Int128).alias(RANK) * (1 << 60))


def column_of(aggregate: WorkerMerged, frame: pl.DataFrame) -> MergedColumn:
    """The aggregate, for the types it has in ``frame``."""
    types = [frame.select(read.alias("x"))["x"].dtype for read in aggregate.reads()]
    return merged_column(NAME, aggregate, types)


def partials(column: MergedColumn, frame: pl.DataFrame) -> pl.DataFrame:
    """A partial per group, made of all records at once."""
    inputs = [expr.alias(name) for name, expr in column.inputs.items()]
    return partials_by_group(frame.select("k", RANK, *inputs), ["k"], [column])


def in_parts(column: MergedColumn, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The partials of each frame, merged: two by two, then what comes of that."""
    parts = [partials(column, frame) for frame in frames]
    while len(parts) > 1:
        pairs = [parts[at : at + 2] for at in range(0, len(parts), 2)]
        parts = [merged_by_group(pl.concat(pair), ["k"], [column]) for pair in pairs]
    return parts[0]


def results(column: MergedColumn, merged: pl.DataFrame) -> dict[Any, Any]:
    """What is shown per group."""
    shown = with_results(merged, [column])
    return dict(shown.select("k", NAME).rows())


def result(aggregate: WorkerMerged, frame: pl.DataFrame) -> Any:
    """What is shown of the one group of ``frame``."""
    column = column_of(aggregate, frame)
    (shown,) = results(column, partials(column, frame)).values()
    return shown


@st.composite
def cuts(draw: st.DrawFn, most: int) -> tuple[list[int], list[int]]:
    """An order of ``most`` records and where it is cut into parts, some of them empty."""
    order = list(range(most))
    random.Random(draw(st.integers(0, 1 << 32))).shuffle(order)
    return order, sorted(draw(st.lists(st.integers(0, most), max_size=5)))


def cut(frame: pl.DataFrame, plan: tuple[list[int], list[int]]) -> list[pl.DataFrame]:
    """The frame's records in the plan's order and parts."""
    order, edges = plan
    shuffled = frame[[place for place in order if place < len(frame)]]
    ends = [*edges, len(shuffled)]
    return [shuffled[begin:end] for begin, end in zip([0, *edges], ends, strict=True)]


def check_any_split(
    aggregate: WorkerMerged, frame: pl.DataFrame, plan: tuple[list[int], list[int]]
) -> dict[Any, Any]:
    """Asserts that the records' split and order change no byte; returns the results."""
    column = column_of(aggregate, frame)
    whole = partials(column, frame).sort("k")
    merged = in_parts(column, cut(frame, plan)).sort("k")
    assert merged.rows() == whole.rows()
    again = merged_by_group(pl.concat([merged, merged.clear()]), ["k"], [column])
    assert again.sort("k").rows() == whole.rows()
    return results(column, whole)
