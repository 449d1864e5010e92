"""What a windowed aggregate declares, checked against the columns of its source."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import polars as pl

from kappa.errors import DeclarationError
from kappa.eventtime.sessions import Session
from kappa.eventtime.windows import Aligned
from kappa.processing.aggregates.declared import Aggregate, SqlMerged
from kappa.processing.aggregates.worker_merged import WorkerMerged
from kappa.processing.dead_letter_limit import DeadLetterLimit
from kappa.processing.expressions import check_column_name, require_condition, result_type
from kappa.processing.fields import NO_VALUE, Field, described
from kappa.processing.source import Source

WINDOW_COLUMNS = ("window_start", "window_end")

FIELDS = (
    Field("name", (str,), 'name="revenue"'),
    Field("version", (int,), "version=1"),
    Field("source", (Source,), 'source=Source("orders", event_time="placed_at")'),
    Field("key", (Sequence, Mapping), 'key=["product"]'),
    Field("window", (Aligned, Session, NO_VALUE), 'window=Tumbling("1m")'),
    Field("aggregates", (Mapping,), 'aggregates={"orders": Count()}'),
    Field("emit", (str,), 'emit="updates"'),
    Field("max_dead_letters", (DeadLetterLimit,), "max_dead_letters=DeadLetterLimit(count=100)"),
    Field("publish", (Mapping,), 'publish={"main": ToTopic("revenue")}'),
)
"""What every windowed aggregate has."""


def require_aggregate(declared: object, *, where: str) -> None:
    """Whether something declared is an aggregate.

    Raises:
        DeclarationError: it is something else, or the class of one.
    """
    if isinstance(declared, type) or not isinstance(declared, SqlMerged | WorkerMerged):
        raise DeclarationError(
            f"{where} is {described(declared)}", hint='write one, such as Count() or Sum("amount")'
        )


def check_names(keys: Collection[str], aggregates: Collection[str], *, where: str) -> None:
    """Whether key columns and aggregates can all be columns of one table.

    Raises:
        DeclarationError: a name cannot be a column's, or comes twice.
    """
    for name in (*keys, *aggregates):
        check_column_name(name, where=where)
    clash = set(WINDOW_COLUMNS) & {*keys, *aggregates} | set(keys) & set(aggregates)
    if clash:
        raise DeclarationError(
            f"{where}: the column {min(clash)!r} would come twice",
            hint="rename the key or the aggregate; window_start and window_end are there anyway",
        )


def input_types(aggregate: Aggregate, available: pl.Schema, *, where: str) -> list[pl.DataType]:
    """The types of an aggregate's inputs over records with these columns.

    Raises:
        DeclarationError: an input or its condition does not fit them.
    """
    if aggregate.where is not None:
        require_condition(aggregate.where, available, where=f"{where}, where")
    with naming(where):
        inputs = aggregate.reads()
    return [result_type(expr, available, where=where) for expr in inputs]


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Has what an aggregate refuses say which processor it is of."""
    try:
        yield
    except DeclarationError as error:
        raise DeclarationError(f"{where}: {error.message}", hint=error.hint) from None
