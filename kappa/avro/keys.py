"""Record keys: the text of one column, so that any client can read and write them."""

from __future__ import annotations

import polars as pl

from kappa.avro.nodes import Enum, Fixed, Node, Nullable, Primitive
from kappa.avro.schema import AvroSchema
from kappa.errors import InvalidSchema

_KEYABLE = frozenset({"string", "int", "long", "boolean"})


def check_key_column(schema: AvroSchema, column: str) -> None:
    """Passes if ``column`` can be the record key.

    Raises:
        InvalidSchema: the schema has no such column, or its type has no text form.
    """
    fields = {field.name: field.node for field in schema.record.fields}
    if column not in fields:
        raise InvalidSchema(
            f"the key column {column!r} is not in the schema",
            hint=f"its columns are {', '.join(fields)}",
        )
    node = fields[column]
    if not _keyable(node):
        kind = node.name if isinstance(node, Primitive) else type(node).__name__.lower()
        raise InvalidSchema(
            f"the key column {column!r} is of type {kind}, which has no text form",
            hint="use a string, enum, uuid, int, long or boolean that is never null",
        )


def key_bytes(column: pl.Series) -> pl.Series:
    """Record keys (Binary) of a key column: its text as UTF-8, ``true`` and ``false``."""
    return column.cast(pl.String).cast(pl.Binary)


def _keyable(node: Node) -> bool:
    if isinstance(node, Nullable):
        return False
    if isinstance(node, Primitive):
        plain = node.logical is None or node.logical.name == "uuid"
        return node.name in _KEYABLE and plain
    return isinstance(node, Enum) or (
        isinstance(node, Fixed) and node.logical is not None and node.logical.name == "uuid"
    )
