"""Aggregates whose partials the worker merges: sets, sketches, chosen values, the user's own.

A partial is bytes, one per group. Merging is commutative and associative to the bit. The table
stores the partial and, beside it, what is shown; both are replaced when a row changes, so rows
must be grouped by the record key: then one worker has all of a row's records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import polars as pl

from kappa.processing.aggregates.declared import Aggregate
from kappa.processing.aggregates.inputs import counted

RANK = "@rank"
"""The column of a record's place in time: Int128, unique, in the order of event time."""


class Merger(Protocol):
    """How the partials of one aggregate are made and merged, its inputs' types being known."""

    @property
    def result(self) -> pl.DataType:
        """The type of what is shown."""

    def prepared(self, inputs: Sequence[pl.Expr], rank: pl.Expr) -> pl.Expr:
        """What is needed of a record, row by row; null where it does not count."""

    def gathered(self, prepared: pl.Expr) -> pl.Expr:
        """A group's records as a list; ``prepared`` holds no nulls."""

    def partials(self, gathered: pl.Series) -> pl.Series:
        """One partial (Binary) per list; null for an empty one."""

    def merge(self, partials: Sequence[bytes]) -> bytes:
        """The partial of all their records, in whatever order they come."""

    def shown(self, partials: pl.Series) -> pl.Series:
        """The results of partials; a null partial is that of no records."""


@runtime_checkable
class WorkerMerged(Aggregate, Protocol):
    """A declared aggregate that the worker merges. A record counts unless all inputs are null."""

    @property
    def ranked(self) -> bool:
        """Whether a record's place in time matters."""

    def merger(self, name: str, types: Sequence[pl.DataType]) -> Merger:
        """For inputs of these types.

        Raises:
            DeclarationError: it cannot take them.
        """


@dataclass(frozen=True)
class MergedColumn:
    """One worker-merged aggregate of a processor.

    Attributes:
        name: the column of what is shown.
        inputs: what is worked out of each record, by the name of its column.
        ranked: whether rows of inputs also need RANK.
    """

    name: str
    inputs: Mapping[str, pl.Expr]
    ranked: bool
    merger: Merger

    @property
    def partial(self) -> str:
        """The column of its partials."""
        return f"{self.name}__partial"


def merged_column(name: str, aggregate: WorkerMerged, types: Sequence[pl.DataType]) -> MergedColumn:
    """The aggregate declared as ``name``, for inputs of these types.

    Raises:
        DeclarationError: it cannot take them.
    """
    inputs = {
        f"@{name}@{number}": counted(read, aggregate.where)
        for number, read in enumerate(aggregate.reads())
    }
    return MergedColumn(name, inputs, aggregate.ranked, aggregate.merger(name, types))


def partials_by_group(
    frame: pl.DataFrame, group: Sequence[str], columns: Sequence[MergedColumn]
) -> pl.DataFrame:
    """A row per group with the partials of its rows; null where none of them counts.

    ``frame`` has the columns of ``group``, all inputs, and RANK where a column is ranked.
    """
    rank = pl.col(RANK)
    rows = frame.select(
        *group,
        *(
            column.merger.prepared([pl.col(name) for name in column.inputs], rank).alias(
                column.partial
            )
            for column in columns
        ),
    )
    lists = rows.group_by(group).agg(
        column.merger.gathered(_present(rows[column.partial])).alias(column.partial)
        for column in columns
    )
    return lists.with_columns(
        column.merger.partials(lists[column.partial]).alias(column.partial) for column in columns
    )


def merged_by_group(
    frame: pl.DataFrame, group: Sequence[str], columns: Sequence[MergedColumn]
) -> pl.DataFrame:
    """A row per group of ``frame``, which has group columns and partials, with these merged."""
    lists = frame.group_by(group).agg(pl.col(column.partial).drop_nulls() for column in columns)
    return lists.with_columns(_merged(lists[column.partial], column.merger) for column in columns)


def with_results(frame: pl.DataFrame, columns: Sequence[MergedColumn]) -> pl.DataFrame:
    """``frame`` of merged partials, with the columns of what is shown."""
    return frame.with_columns(
        column.merger.shown(frame[column.partial]).alias(column.name) for column in columns
    )


def _present(column: pl.Series) -> pl.Expr:
    present = pl.col(column.name)
    return present.drop_nulls() if column.null_count() else present


def _merged(lists: pl.Series, merger: Merger) -> pl.Series:
    single = lists.list.first()
    several = lists.list.len() > 1
    if not several.any():
        return single
    merged = [merger.merge(partials) for partials in lists.filter(several).to_list()]
    places = several.arg_true()
    return single.scatter(places, pl.Series(merged, dtype=pl.Binary))
