"""Record batches whose records are all alike in form, to columns, without a loop over them.

Kafka writes lengths and numbers as Avro does, so the records of a batch are the items of an Avro
array, once their count stands in front and a zero behind:

    length   attributes   timestamp delta   offset delta   key     value   headers: how many, and
    long     0            long              long           bytes   bytes   long    name and value

What differs is what is absent: there a length of -1 stands, where Avro would have an index. So
the first record of a batch tells its form, and the batch is taken only if all others have it:
a decoder that believes what it reads is held to every record's length, and to the batch's.

Each field costs, so a zero byte is read with the number behind it, as the index of a union's first
branch. Of records without headers the last byte is such a zero: an item begins with that of the
record before, and the very last one closes the array.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain

import numpy as np
import pyarrow as pa
import pyruhvro
from numpy.typing import NDArray

from kappa.log.copies import HEADER

MOST_HEADERS = 8
"""Records with more are rare, and every number of them is a form of its own."""

_COPY = HEADER.encode()
_PANIC = "PanicException"
_LONGEST = 63
"""Bits of a varint behind which its last byte stands."""
_Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Form:
    """What the records of a batch have in common."""

    key: bool
    """Whether there is a key; likewise the others."""
    value: bool
    headers: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Payload:
    """The records of one batch, decompressed."""

    data: memoryview
    count: int


@dataclass(frozen=True, slots=True)
class Records:
    """The records of several payloads, one after the other."""

    offset_deltas: _Numbers
    timestamp_deltas: _Numbers
    keys: pa.BinaryArray
    values: pa.BinaryArray


def form_of(payload: Payload) -> Form | None:
    """The form of the first record; None if it is an uncommon one, or no record.

    What it says is a guess: ``records`` finds out.
    """
    try:
        cursor = _Cursor(payload.data)
        for _ in range(4):
            cursor.number()
        key, value = cursor.skip(), cursor.skip()
        count = cursor.number()
        if not 0 <= count <= MOST_HEADERS:
            return None
        return Form(key, value, tuple(cursor.skip() and cursor.skip() for _ in range(count)))
    except IndexError:
        return None


def records(payloads: Sequence[Payload], form: Form) -> Records | None:
    """The records of all payloads, None unless each has this form and nothing is odd about any.

    None too if there is a copy among them: somebody has to read what its header says.
    """
    lists = _decoded(payloads, form)
    if lists is None:
        return None
    counts = np.array([payload.count for payload in payloads])
    ends = np.frombuffer(lists.buffers()[1], dtype=np.int32, count=len(payloads) + 1)
    if not np.array_equal(np.diff(ends), counts):
        return None
    length, times, offsets, key, value, *headers = lists.values.flatten()
    if length.null_count or times.null_count:
        return None
    if any(_holds(name, _COPY) for name in headers[1::2]):
        return None
    sizes = _sizes(form, _numbers(times), _numbers(offsets), key, value, headers)
    # What was consumed for a record is no less than its size: if every record's own length is
    # that, and all of them together are the payload, no record ran into the next.
    if sizes is None or (_numbers(length) != sizes).any():
        return None
    totals = np.add.reduceat(sizes + _widths(_numbers(length)), ends[:-1], dtype=np.int64)
    if not np.array_equal(totals, [len(payload.data) for payload in payloads]):
        return None
    return Records(
        _numbers(offsets), _numbers(times), _bytes(key, form.key), _bytes(value, form.value)
    )


def _sizes(
    form: Form,
    times: _Numbers,
    offsets: _Numbers,
    key: pa.Array,
    value: pa.Array,
    headers: Sequence[pa.Array],
) -> NDArray[np.int32] | None:
    """The bytes of each record behind its length; None if it is of another form."""
    if headers and (_numbers(headers[0]) != len(form.headers)).any():
        return None
    columns = [key, value, *headers[1:]]
    if not all(_is_ascii(name) for name in columns[2::2]):
        return None  # names are text, and somebody has to say if one is not
    sizes = np.full(len(times), 2, dtype=np.int32)  # the attributes, the number of headers
    for numbers in (times, offsets):
        sizes += _widths(numbers)
    present = chain([form.key, form.value], *((True, has_value) for has_value in form.headers))
    for column, is_there in zip(columns, present, strict=True):
        if is_there:
            lengths = np.diff(_offsets(column))
            sizes += lengths
            sizes += _widths(lengths)
        elif (_numbers(column) != -1).any():
            return None
        else:
            sizes += 1
    return sizes


def _decoded(payloads: Sequence[Payload], form: Form) -> pa.ListArray | None:
    before, behind = (b"", b"\0") if form.headers else (b"\0", b"")
    data = [b"".join((_varint(each.count), before, each.data, behind)) for each in payloads]
    try:
        return pyruhvro.deserialize_array(data, _schema(form)).column(0)
    except ValueError:
        return None
    except BaseException as error:  # a panic is no Exception
        if type(error).__name__ != _PANIC:
            raise
        return None


@cache
def _schema(form: Form) -> str:
    """The Avro schema of an array of such records. Text stands for bytes: it is not checked."""

    def stand_in(is_there: bool) -> str:
        return "string" if is_there else "long"

    after_zero = ["long", "null"]
    types: list[str | list[str]] = [after_zero, "long", stand_in(form.key), stand_in(form.value)]
    types[:0] = ["long"] if form.headers else [after_zero]
    types += ["long"] if form.headers else []
    for has_value in form.headers:
        types += ["string", stand_in(has_value)]
    fields = [{"name": f"f{number}", "type": type_} for number, type_ in enumerate(types)]
    record = {"type": "record", "name": "Record", "fields": fields}
    items = {"name": "records", "type": {"type": "array", "items": record}}
    return json.dumps({"type": "record", "name": "Batch", "fields": [items]})


def _numbers(column: pa.Array) -> _Numbers:
    return np.frombuffer(column.buffers()[1] or b"", dtype=np.int64, count=len(column))


def _offsets(column: pa.Array) -> NDArray[np.int32]:
    return np.frombuffer(column.buffers()[1], dtype=np.int32, count=len(column) + 1)


def _is_ascii(column: pa.StringArray) -> bool:
    return _text(column).isascii()


def _holds(column: pa.StringArray, text: bytes) -> bool:
    """Whether ``text`` stands in the column, perhaps across two of its values."""
    return text in _text(column)


def _text(column: pa.StringArray) -> bytes:
    """All values of the column, one after the other."""
    return bytes(memoryview(column.buffers()[2] or b"")[: _offsets(column)[-1]])


def _bytes(column: pa.Array, is_there: bool) -> pa.BinaryArray:
    if not is_there:
        return pa.nulls(len(column), pa.binary())
    return pa.Array.from_buffers(pa.binary(), len(column), column.buffers(), 0)


def _widths(values: NDArray[np.signedinteger]) -> int | NDArray[np.uint8]:
    """The bytes of each number as a varint; one number if that is the same for all."""
    least, most = int(values.min()), int(values.max())
    if least < 0:
        # A number and its complement, 3 and -4, are as long as each other.
        values = values ^ (values >> (8 * values.itemsize - 1))
        least, most = int(values.min()), int(values.max())
    narrowest, widest = least.bit_length() // 7 + 1, most.bit_length() // 7 + 1
    if narrowest == widest:
        return narrowest
    widths = np.full(len(values), narrowest, dtype=np.uint8)
    for width in range(narrowest, widest):
        widths += (values >= 64 << 7 * (width - 1)).view(np.uint8)
    return widths


def _varint(number: int) -> bytes:
    """A number that is not negative."""
    zigzag = number << 1
    out = bytearray()
    while zigzag > 0x7F:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    return bytes([*out, zigzag])


class _Cursor:
    """Reads what a record consists of."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def number(self) -> int:
        zigzag = shift = 0
        while True:
            byte = self._data[self._at]
            zigzag |= (byte & 0x7F) << shift
            self._at += 1
            shift += 7
            if byte < 0x80:
                return (zigzag >> 1) ^ -(zigzag & 1)
            if shift > _LONGEST:
                raise IndexError

    def skip(self) -> bool:
        """Goes past bytes and their length; whether there are any."""
        length = self.number()
        self._at += max(length, 0)
        return length >= 0
