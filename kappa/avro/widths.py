"""How many bytes each decoded value takes in the shortest encoding, worked out over columns.

A datum whose length is not the width of what was decoded from it has trailing bytes, an
integer that wrapped around, or an unusual but legal encoding; ``strict`` then tells which.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kappa.avro.nodes import Array, Enum, Fixed, Map, Node, Nullable, Primitive, Record

Widths = NDArray[np.int64]

_CONSTANT = {"null": 0, "boolean": 1, "float": 4, "double": 8}
_VARINT_STEPS = [1 << (7 * count) for count in range(1, 10)]


def widths(node: Node, column: pa.Array) -> Widths:
    """Bytes per value of a column in physical form, as ``vectorised`` decodes it."""
    match node:
        case Primitive(name) if name in _CONSTANT:
            return np.full(len(column), _CONSTANT[name], dtype=np.int64)
        case Primitive("int" | "long"):
            return _varint(column)
        case Primitive():
            lengths = _numpy(pc.binary_length(column.cast(pa.binary())))
            return _varint_of(lengths) + lengths
        case Fixed(size=size):
            return np.full(len(column), size, dtype=np.int64)
        case Enum(symbols=symbols):
            found = pc.index_in(column, value_set=pa.array(symbols, pa.string()))
            return _varint_of(_numpy(found))
        case Nullable(inner):
            inside = widths(inner, column)
            return 1 + np.where(_numpy(column.is_null()).astype(bool), 0, inside)
        case Record(fields=fields):
            total = np.zeros(len(column), dtype=np.int64)
            for number, field in enumerate(fields):
                total += widths(field.node, column.field(number))
            return total
        case Array(items):
            return _blocks(column, widths(items, column.values))
        case Map(values):
            keys = widths(Primitive("string"), column.keys)
            return _blocks(column, keys + widths(values, column.items))


def _blocks(column: pa.Array, items: Widths) -> Widths:
    """One block and the closing zero; an empty list is the zero alone."""
    offsets = np.asarray(column.offsets).astype(np.int64)
    running = np.concatenate(([0], np.cumsum(items)))
    counts = np.diff(offsets)
    inside = running[offsets[1:]] - running[offsets[:-1]]
    return 1 + np.where(counts > 0, _varint_of(counts) + inside, 0)


def _varint(column: pa.Array) -> Widths:
    return _varint_of(_numpy(column))


def _varint_of(values: NDArray[np.signedinteger]) -> Widths:
    wide = values.astype(np.int64, copy=False)
    zigzag = ((wide << 1) ^ (wide >> 63)).view(np.uint64)
    width = np.ones(len(zigzag), dtype=np.int64)
    highest = zigzag.max() if len(zigzag) else 0
    for step in _VARINT_STEPS:
        if step > highest:
            break
        width += zigzag >= np.uint64(step)
    return width


def _numpy(column: pa.Array) -> NDArray[np.signedinteger]:
    """The column's values; where it is null, some number."""
    if column.null_count:
        column = column.fill_null(0)
    return np.asarray(column)
