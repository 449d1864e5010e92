"""From a bound keyed processor to its tables: rows, side outputs and state."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from kappa.errors import StateSchemaChanged
from kappa.processing.keyed.declaration import BoundKeyedProcessor
from kappa.tables.finalize import Plain
from kappa.tables.layout import (
    INDEX_COLUMN,
    OFFSET_COLUMN,
    PARTITION_COLUMN,
    Column,
    Kind,
    Layout,
    Side,
    ViewColumn,
)
from kappa.tables.merge import MergeRule
from kappa.tables.sqltypes import sql_type
from kappa.versions.publications import publications

_PLACE = (PARTITION_COLUMN, OFFSET_COLUMN, INDEX_COLUMN)


def keyed_layout(bound: BoundKeyedProcessor) -> Layout:
    """The tables of one version of a keyed processor.

    Raises:
        DeclarationError: a name or a column's type is not possible in PostgreSQL.
    """
    declared = bound.declaration
    columns = _columns(bound.output)
    return Layout(
        processor=declared.name,
        version=declared.version,
        kind=Kind.APPEND,
        columns=(*columns, *_PLACE),
        key=tuple(column.name for column in _PLACE),
        view=tuple(ViewColumn(column.name, Plain(column.name)) for column in columns),
        sides=tuple(
            Side(name, (*_columns(types), *_PLACE)) for name, types in bound.outputs.items()
        ),
        state=bound.state_schema,
        publishes=publications(declared.publish),
    )


def check_state(stored: Layout, declared: Layout) -> None:
    """Whether a version declared now can read the states stored when it was declared before.

    Raises:
        StateSchemaChanged: it cannot.
    """
    if stored.state != declared.state:
        raise StateSchemaChanged(
            f"the states of {declared.processor} changed under version {declared.version}",
            stored=stored.state,
            declared=declared.state,
            hint=f"declare the change as version {declared.version + 1} and replay that",
        )


def _columns(types: Mapping[str, pl.DataType]) -> tuple[Column, ...]:
    return tuple(
        Column(name, sql_type(dtype, name), MergeRule.FIXED) for name, dtype in types.items()
    )
