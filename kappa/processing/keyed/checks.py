"""What a keyed processor declares, checked against the columns of its source."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl
from polars.datatypes import DataTypeClass

from kappa.errors import DeclarationError
from kappa.processing.dead_letter_limit import DeadLetterLimit
from kappa.processing.expressions import (
    SYSTEM_COLUMNS,
    Column,
    check_column_name,
    named,
    result_type,
)
from kappa.processing.fields import NO_VALUE, Field, described
from kappa.processing.keyed.emitted import instance, take
from kappa.processing.keyed.state import State
from kappa.processing.record_key import KEY_TYPES
from kappa.processing.source import Source

OutputColumns = Mapping[str, pl.DataType | DataTypeClass]
"""The columns of an output and their types."""

FIELDS = (
    Field("name", (str,), 'name = "fraud_alerts"'),
    Field("version", (int,), "version = 1"),
    Field("source", (Source,), 'source = Source("transactions", event_time="at")'),
    Field("key", (str,), 'key = "account_id"'),
    Field("columns", (Sequence, Mapping, NO_VALUE), 'columns = ["amount"]'),
    Field("output", (Mapping,), 'output = {"amount": pl.Float64()}'),
    Field("outputs", (Mapping,), 'outputs = {"reviews": {"reason": pl.String()}}'),
    Field("max_dead_letters", (DeadLetterLimit,), "max_dead_letters = DeadLetterLimit(count=100)"),
    Field("publish", (Mapping,), 'publish = {"main": ToTopic("alerts")}'),
)
"""What every keyed processor has."""


def key_type(key: str, schema: pl.Schema, *, where: str) -> pl.DataType:
    """The type of the key column.

    Raises:
        DeclarationError: there is no such column, or its values are no record keys.
    """
    dtype = schema.get(key)
    if dtype is None:
        raise DeclarationError(
            f"{where}: the source has no column {key!r} to be the key",
            hint="its columns are " + ", ".join(schema),
        )
    if dtype not in KEY_TYPES:
        raise DeclarationError(
            f"{where}: the key {key!r} is of type {dtype}",
            hint="a record key is text, an int, a long or a boolean",
        )
    return dtype


def value_of(dtype: pl.DataType) -> Callable[[str], Any]:
    """What makes the value of a key column from a record key's text."""
    if dtype == pl.Boolean:
        return "true".__eq__
    return int if dtype.is_integer() else str


def seen_columns(
    columns: Sequence[Column] | Mapping[str, Column] | None, schema: pl.Schema, *, where: str
) -> dict[str, pl.Expr]:
    """What handlers see of a record, by the name of the event's attribute.

    Raises:
        DeclarationError: a column does not fit the source, or its name cannot be an attribute's.
    """
    seen = named(list(schema) if columns is None else columns, where=f"{where}, columns")
    available = pl.Schema({**schema, **SYSTEM_COLUMNS})
    for name, expr in seen.items():
        result_type(expr, available, where=f"{where}, column {name!r}")
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
            raise DeclarationError(
                f"{where}: an event cannot have an attribute {name!r}",
                hint=f'list the columns, and this one as pl.col("{name}").alias(…)',
            )
    return seen


def output_types(columns: OutputColumns, *, where: str) -> dict[str, pl.DataType]:
    """The columns of an output and their types.

    Raises:
        DeclarationError: there are none, or a handler could not emit values of a type.
    """
    if not isinstance(columns, Mapping):
        raise DeclarationError(
            f"{where} is {described(columns)}",
            hint='write its columns with their types: {"amount": pl.Float64()}',
        )
    if not columns:
        raise DeclarationError(f"{where} has no columns", hint="declare at least one")
    types: dict[str, pl.DataType] = {}
    for name, dtype in columns.items():
        check_column_name(name, where=where)
        if not isinstance(dtype, pl.DataType | DataTypeClass):
            raise DeclarationError(
                f"{where}: the type of {name!r} is {dtype!r}",
                hint="use a type of Polars, such as pl.String()",
            )
        types[name] = instance(dtype)
        take(types[name], where=f"{where}, column {name!r}")
    return types


def declared_states(processor: Any, *, where: str) -> dict[str, State]:
    """The states among the attributes of a processor, those of base classes first.

    Raises:
        DeclarationError: a state ends in event time, and the source has none.
    """
    found: dict[str, State] = {}
    for cls in reversed(type(processor).__mro__):
        found |= _states_in(vars(cls))
    found |= _states_in(vars(processor))
    for name, state in found.items():
        if state.ttl_ms is not None and processor.source.event_time is None:
            raise DeclarationError(
                f"{where}, state {name!r}: a ttl needs event time, which the source has not",
                hint='declare it: Source(…, event_time="at"), or clear it by a timer',
            )
    return found


def _states_in(attributes: Mapping[str, object]) -> dict[str, State]:
    return {name: value for name, value in attributes.items() if isinstance(value, State)}
