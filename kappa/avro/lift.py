"""From the columns the vectorised decoder gives for its stand-ins to those of the writer's types.

On the way everything is checked that the decoder lets pass: text that is not UTF-8, integers
and enum indexes out of range, times outside the day, malformed uuids, decimals with too many
digits. And the bytes are counted that each row's values take in their shortest encoding. That
is a lower bound of what was consumed for them, and all that was consumed is at most the data:
if the count of every row is the length of its datum, every datum was consumed whole, none ran
into the next, and nothing was encoded in an unusual way.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kappa.avro.buffers import (
    bytes_of,
    fixed_of,
    list_of,
    numbers_of,
    offsets_of,
    retyped,
    struct_of,
    valid_of,
)
from kappa.avro.columns import decoded_type
from kappa.avro.decimals import decimals_of_bytes, decimals_of_fixed
from kappa.avro.limits import DAY, INT
from kappa.avro.nodes import Array, Enum, Fixed, Map, Node, Nullable, Primitive, Record
from kappa.avro.uuids import TEXT_LENGTH, canonical
from kappa.avro.widths import Mask, Sizes, varint_widths

_WIDTHS = {"null": 0, "boolean": 1, "float": 4, "double": 8}
_ASCII = 0x7F


class Doubtful(Exception):
    """Some value of the batch is wrong, or encoded in a way that has to be looked at."""


Lift = Callable[[pa.Array, Mask, Sizes], pa.Array]
"""Takes a column and which of its values were written: inside a record that is null, none was,
whatever the column holds there. Adds to the sizes what each takes."""


def lift(node: Node) -> Lift:
    """How the stand-in's column becomes the node's. What is returned raises Doubtful."""
    match node:
        case Primitive(name) if name in _WIDTHS:
            return _constant(_WIDTHS[name])
        case Primitive("int" | "long"):
            return _integers(node)
        case Primitive("string"):
            return _texts(uuid=node.logical is not None and node.logical.name == "uuid")
        case Primitive():
            return _binary(node)
        case Enum(symbols=symbols):
            return _whole_numbers(0, len(symbols), pa.int32())
        case Fixed():
            return _fixed(node)
        case Nullable(inner):
            return _nullable(lift(inner))
        case Record():
            return _record(node)
        case Array(items):
            return _array(lift(items), decoded_type(node))
        case Map(values):
            return _map(lift(values), decoded_type(node))


def _constant(width: int) -> Lift:
    def apply(column: pa.Array, written: Mask, sizes: Sizes) -> pa.Array:
        sizes.add(width, written)
        return column

    return apply


def _integers(node: Primitive) -> Lift:
    type_ = decoded_type(node)
    logical = node.logical.name if node.logical is not None else ""
    if logical in DAY:
        return _whole_numbers(0, DAY[logical], type_)
    return _whole_numbers(-INT, INT, type_) if node.name == "int" else _longs(type_)


def _longs(type_: pa.DataType) -> Lift:
    def apply(column: pa.Array, written: Mask, sizes: Sizes) -> pa.Array:
        sizes.add_varints(numbers_of(column), written)
        return column if type_ == column.type else retyped(column, type_)

    return apply


def _whole_numbers(low: int, high: int, type_: pa.DataType) -> Lift:
    """Integers from ``low`` to below ``high``."""
    narrow = type_.bit_width == 32

    def apply(column: pa.Array, written: Mask, sizes: Sizes) -> pa.Array:
        values = numbers_of(column)
        present = values if written is None else values[written]
        if len(present) and not (low <= present.min() and present.max() < high):
            raise Doubtful
        sizes.add_varints(values, written)
        return retyped(column.cast(pa.int32(), safe=False) if narrow else column, type_)

    return apply


def _texts(*, uuid: bool) -> Lift:
    def apply(column: pa.Array, written: Mask, sizes: Sizes) -> pa.Array:
        _count_lengths(column, written, sizes)
        _require_text(column)
        return _uuids(column) if uuid else column

    return apply


def _uuids(column: pa.Array) -> pa.Array:
    lengths = np.diff(offsets_of(column))
    if np.count_nonzero(lengths == TEXT_LENGTH) != len(column) - column.null_count:
        raise Doubtful
    data = bytes_of(column)[: TEXT_LENGTH * (len(column) - column.null_count)]
    lower = canonical(data.reshape(-1, TEXT_LENGTH))
    if lower is None:
        raise Doubtful
    return column if lower else pc.utf8_lower(column)


def _binary(node: Primitive) -> Lift:
    type_ = decoded_type(node)

    def apply(column: pa.Array, written: Mask, sizes: Sizes) -> pa.Array:
        _count_lengths(column, written, sizes)
        column = retyped(column, pa.binary())
        return column if pa.types.is_binary(type_) else _known(decimals_of_bytes(column, type_))

    return apply


def _fixed(node: Fixed) -> Lift:
    type_ = decoded_type(node)

    def apply(column: pa.Array, written: Mask, sizes: Sizes) -> pa.Array:
        sizes.add(node.size, written)
        rows = np.zeros((len(column), node.size), dtype=np.uint8)
        at = 0
        for number in range(column.type.num_fields):
            part = column.field(number)
            wide = part.type.bit_width // 8
            rows[:, at : at + wide] = _raw(part, wide)
            at += wide
        if pa.types.is_decimal(type_):
            return _known(decimals_of_fixed(rows, column, type_))
        return fixed_of(type_, column, rows)

    return apply


def _nullable(inner: Lift) -> Lift:
    def apply(column: pa.Array, written: Mask, sizes: Sizes) -> pa.Array:
        sizes.add(1, written)
        valid = valid_of(column)
        return inner(column, written if valid is None else valid, sizes)

    return apply


def _record(node: Record) -> Lift:
    type_ = decoded_type(node)
    members = [lift(field.node) for field in node.fields]

    def apply(column: pa.Array, written: Mask, sizes: Sizes) -> pa.Array:
        children = [
            member(column.field(number), written, sizes) for number, member in enumerate(members)
        ]
        return struct_of(type_, column, children)

    return apply


def _array(items: Lift, type_: pa.DataType) -> Lift:
    def apply(column: pa.Array, written: Mask, sizes: Sizes) -> pa.Array:
        inside = Sizes(len(column.values))
        found = items(column.values, None, inside)
        _count_block(column, written, inside, sizes)
        return list_of(type_, column, found)

    return apply


def _map(values: Lift, type_: pa.DataType) -> Lift:
    texts = _texts(uuid=False)

    def apply(column: pa.Array, written: Mask, sizes: Sizes) -> pa.Array:
        count = len(column.keys)
        inside = Sizes(count)
        pairs = [texts(column.keys, None, inside), values(column.items, None, inside)]
        _count_block(column, written, inside, sizes)
        entries = pa.Array.from_buffers(type_.value_type, count, [None], 0, children=pairs)
        return list_of(type_, column, entries)

    return apply


def _count_lengths(column: pa.Array, written: Mask, sizes: Sizes) -> None:
    lengths = np.diff(offsets_of(column))
    sizes.add(lengths, None)
    sizes.add(varint_widths(lengths), written)


def _count_block(column: pa.Array, written: Mask, items: Sizes, sizes: Sizes) -> None:
    """A list is one block, its count before it, and the closing zero; an empty one is the zero."""
    offsets = offsets_of(column)
    counts = np.diff(offsets)
    sizes.add(1, written)
    sizes.add(np.where(counts > 0, varint_widths(counts), 0), None)
    ends = np.concatenate([[0], np.cumsum(items.per_row())])
    sizes.add(ends[offsets[1:]] - ends[offsets[:-1]], None)


def _require_text(column: pa.Array) -> None:
    """UTF-8, each value by itself."""
    data = bytes_of(column)
    if len(data) and data.max() > _ASCII:
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            raise Doubtful from None


def _raw(column: pa.Array, wide: int) -> NDArray[np.uint8]:
    """The bytes of floats or doubles, a row each."""
    data = np.frombuffer(column.buffers()[1] or b"", dtype=np.uint8, count=len(column) * wide)
    return data.reshape(-1, wide)


def _known(column: pa.Array | None) -> pa.Array:
    if column is None:
        raise Doubtful
    return column
