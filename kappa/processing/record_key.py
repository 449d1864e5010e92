"""The check that a column is the record key.

Kafka decides a record's partition by its key. A kind that keeps one state per key trusts that
all records of a key lie in one partition, so it looks at every record whether they do.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from kappa.errors import DeclarationError
from kappa.processing.aggregates.partials import Refusal
from kappa.processing.expressions import expression

KEY_TYPES = (pl.String, pl.Int32, pl.Int64, pl.Boolean)
"""Types of a record key that has a text form."""


def foreign_key(column: str) -> Refusal:
    """Refuses a record whose ``@key`` is not the text of ``column``, or is missing."""
    text = pl.col(column).cast(pl.String).cast(pl.Binary)
    same = (pl.col("@key") == text).fill_null(False)
    return Refusal(~same, f"the record key is not the text of {column!r}")


def key_column(
    columns: Mapping[str, pl.Expr],
    types: Mapping[str, pl.DataType],
    record_key: str,
    *,
    where: str,
    hint: str,
) -> str:
    """The name under which the topic's column ``record_key`` stands among ``columns``.

    Raises:
        DeclarationError: it is not among them, or of a type that is no record key's.
    """
    for name, expr in columns.items():
        if expr.meta.undo_aliases().meta.eq(expression(record_key)):
            if types[name] not in KEY_TYPES:
                raise DeclarationError(
                    f"{where}: the key {record_key!r} is of type {types[name]}",
                    hint="a record key is text, an int, a long or a boolean",
                )
            return name
    raise DeclarationError(
        f"{where}: the record key {record_key!r} is not among the columns", hint=hint
    )
