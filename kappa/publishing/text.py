"""Cells of text as values: what CSV leaves open, decided by the schema."""

from __future__ import annotations

import re

import orjson
import polars as pl

from kappa.avro.nodes import Array, Enum, Map, Node, Nullable, Primitive, Record
from kappa.publishing.chunks import Raw
from kappa.publishing.digits import with_digits
from kappa.publishing.values import has_decimal

_WHOLE = r"^[+-]?[0-9]{1,18}$"
_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_LONG_WHOLE = r"^[+-]?[0-9]{1,40}$"
_BOOLEANS: dict[str, object] = {"true": True, "false": False}


def from_text(cells: list[str], node: Node) -> Raw:
    """The cells as the JSON values they stand for; a cell that stands for none stays text.

    An empty cell is null where the field may be null, and the empty string where it is a string
    that may not.
    """
    nullable = isinstance(node, Nullable)
    inner = node.node if isinstance(node, Nullable) else node
    fast = _at_once(cells, inner, nullable)
    if fast is not None:
        return fast
    exact = has_decimal(inner)
    return [_value(cell, inner, nullable, exact) for cell in cells]


def _at_once(cells: list[str], node: Node, nullable: bool) -> Raw | None:
    """The whole column, if it is text or every cell has the plain form of a number."""
    if isinstance(node, Enum) or node == Primitive("string"):
        return [cell or None for cell in cells] if nullable else [*cells]
    if not isinstance(node, Primitive) or node.name not in {"int", "long", "float", "double"}:
        return None
    column = pl.Series(cells, dtype=pl.String)
    if nullable:
        column = column.set(column == "", None)
    whole = node.name in {"int", "long"}
    if column.str.contains(_WHOLE if whole else _NUMBER).all():
        return column.cast(pl.Int64 if whole else pl.Float64)
    if whole and not column.str.contains(_LONG_WHOLE).any():
        return column.to_list()  # dates and times in words, if anything
    return None


def _value(cell: str, node: Node, nullable: bool, exact: bool) -> object:
    empty_is_text = node in {Primitive("string"), Primitive("bytes")} and not nullable
    if not cell and not empty_is_text:
        return None
    match node:
        case Primitive("int" | "long"):
            return int(cell) if re.match(_LONG_WHOLE, cell) else cell
        case Primitive("float" | "double"):
            return float(cell) if re.match(_NUMBER, cell) else cell
        case Primitive("boolean"):
            return _BOOLEANS.get(cell, cell)
        case Array() | Map() | Record():
            return _json(cell, exact=exact)
    return cell


def _json(cell: str, *, exact: bool) -> object:
    try:
        found: object = orjson.loads(cell)
    except orjson.JSONDecodeError:
        return cell
    return with_digits(cell, found) if exact else found
