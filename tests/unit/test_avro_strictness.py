"""Bad bytes are found, one by one, and no decoder takes what the other refuses."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from kappa.avro.cursor import Undecodable
from kappa.avro.decode import BatchDecoder, Decoded
from kappa.avro.reference import ReferenceDecoder
from kappa.avro.schema import parse
from kappa.avro.sizes import MAX_PLACES
from kappa.avro.values import AT_ONCE
from kappa.avro.widths import varint_widths
from kappa.avro.wire import HEADER_BYTES, header
from kappa.avro.writer import Writer
from tests.unit.test_avro_decode import _fields, framed, record_of, types, values

Json = Any
FRAME = header(1)
HUGE = b"\xff" * 9 + b"\x01"


def varint(number: int) -> bytes:
    zigzag = (number << 1) ^ (number >> 127)
    out = bytearray()
    while zigzag > 0x7F:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    return bytes([*out, zigzag])


def decode(kind: Json, *data: bytes) -> Decoded:
    schema = parse(record_of([{"name": "a", "type": kind}]))
    return BatchDecoder(schema, lambda _: schema).decode([FRAME + datum for datum in data])


ARRAY = {"type": "array", "items": "int"}
MAP = {"type": "map", "values": "boolean"}
ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
UUID = {"type": "string", "logicalType": "uuid"}
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 3, "scale": 1}
KEPT = {"type": "fixed", "name": "K", "size": 20, "logicalType": "decimal", "precision": 38}
A_UUID = "0123abcd-0000-4000-8000-00000000000f"


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return varint(len(raw)) + raw


@pytest.mark.parametrize(
    ("kind", "datum", "error_class"),
    [
        ("long", b"", "Truncated"),
        ("long", b"\x80", "Truncated"),
        ("long", b"\0\0", "TrailingBytes"),
        ("long", b"\x80" * 10 + b"\0", "BadNumber"),
        ("long", b"\x80" * 200_000 + b"\0", "BadNumber"),
        ("int", varint(2**31), "OutOfRange"),
        ("int", varint(2**32 + 2**30), "OutOfRange"),  # 32 bits of it take as many bytes
        ("int", varint(-(2**33) - 2**30), "OutOfRange"),
        ({"type": "int", "logicalType": "date"}, varint(2**31), "OutOfRange"),
        ({"type": "long", "logicalType": "time-micros"}, varint(86_400_000_000), "OutOfRange"),
        ("boolean", b"\2", "BadBoolean"),
        ("float", b"\0\0\0", "Truncated"),
        ("string", varint(-1), "BadLength"),
        ("string", varint(2**62), "Truncated"),
        ("string", text(b"ab\xff"), "BadText"),
        ("bytes", varint(9) + b"1234", "Truncated"),
        (ENUM, varint(2), "BadIndex"),
        (ENUM, varint(-1), "BadIndex"),
        (["null", "int"], varint(2), "BadIndex"),
        (["null", "int"], varint(-1) + b"\0", "BadIndex"),
        (ARRAY, varint(2**40) + b"\0", "Truncated"),
        (ARRAY, varint(-(2**63)) + b"\0\0", "Truncated"),
        (ARRAY, varint(-1) + varint(9) + b"\0\0", "BadLength"),
        (ARRAY, b"\2\2", "Truncated"),
        (MAP, varint(1) + text(b"\xfe") + b"\1\0", "BadText"),
        (UUID, text("nobody"), "BadUuid"),
        (UUID, text(A_UUID.replace("f", "g")), "BadUuid"),
        (UUID, text(""), "BadUuid"),
        (MONEY, text(b""), "BadDecimal"),
        (MONEY, text(b"\x03\xe8"), "BadDecimal"),
        (MONEY, text(b"\0" * 20 + b"\x03\xe8"), "BadDecimal"),
        (KEPT, b"\0" * 4 + b"\xff" * 16, "BadDecimal"),
        (KEPT, b"\x01" + b"\0" * 19, "BadDecimal"),
    ],
)  # fmt: skip
def test_what_no_writer_of_the_schema_writes_is_a_failure(
    kind: Json, datum: bytes, error_class: str
) -> None:
    decoded = decode(kind, datum)
    assert [failure.error_class for failure in decoded.failures] == [error_class]
    assert decoded.frame.is_empty()


@pytest.mark.parametrize(
    ("kind", "datum", "value"),
    [
        ("long", b"\x80\x80\0", 0),
        ("long", HUGE, -(2**63)),
        (ARRAY, b"\2\2\2\4\0", [1, 2]),
        (ARRAY, varint(-2) + varint(2) + b"\2\4\0", [1, 2]),
        (ARRAY, varint(63) + b"\2" * 63 + b"\2\4\0", [1] * 63 + [2]),
        (MAP, varint(1) + text("k") + b"\1" + varint(1) + text("k") + b"\0\0",
         [{"key": "k", "value": True}, {"key": "k", "value": False}]),
        (UUID, text(A_UUID.upper()), A_UUID),
        (UUID, text(f"{{{A_UUID}}}"), A_UUID),
        (MONEY, text(b"\xff" * 30), Decimal("-0.1")),
        (KEPT, b"\xff" * 20, Decimal(-1)),
        (["null", {**KEPT, "name": "L"}], b"\0", None),
    ],
)  # fmt: skip
def test_unusual_encodings_are_read(kind: Json, datum: bytes, value: Any) -> None:
    decoded = decode(kind, datum)
    assert decoded.failures == ()
    (found,) = decoded.frame["a"].to_list()
    assert found == value


def test_a_failure_names_the_field_and_the_position() -> None:
    inner = {"type": "record", "name": "In", "fields": [{"name": "b", "type": "boolean"}]}
    decoded = decode({"type": "array", "items": inner}, b"\2\1\0", b"\2\7\0", b"\0")
    (failure,) = decoded.failures
    assert failure.position == 1
    assert failure.message == "field 'a.b': the byte of a boolean is 0 or 1, not 7"
    assert decoded.positions is not None
    assert decoded.positions.tolist() == [0, 2]


def test_a_few_bytes_cannot_fill_the_memory() -> None:
    wide = {
        "type": "record",
        "name": "Wide",
        "fields": [{"name": f"f{n}", "type": "long"} for n in range(2000)],
    }
    count = MAX_PLACES // 2000 + 1
    datum = varint(count) + b"\0" * count + b"\0"
    allowed = varint(1000) + b"\0" * 1000 + b"\0"
    decoded = decode({"type": "array", "items": ["null", wide]}, datum, allowed)
    assert [(f.position, f.error_class) for f in decoded.failures] == [(0, "TooLarge")]
    assert decoded.frame["a"].list.len().to_list() == [1000]


relaxed = settings(max_examples=150)


@given(st.data(), st.randoms(use_true_random=False))
@relaxed
def test_a_batch_gives_of_each_value_what_reading_it_alone_gives(
    data: st.DataObject, rng: random.Random
) -> None:
    kinds = data.draw(st.lists(types(fixed=data.draw(st.booleans())), min_size=1, max_size=3))
    document = record_of(_fields(kinds))
    schema = parse(document)
    records = data.draw(st.lists(values(schema.record), min_size=1, max_size=40))
    batch = [
        mutated(framed(document, record), rng) if rng.random() < 0.2 else framed(document, record)
        for record in records
    ]
    writer = Writer(1, schema, schema, [field.name for field in schema.record.fields])
    slow = ReferenceDecoder(schema.record)
    good, rows, bad = [], [], {}
    for position, value in enumerate(batch):
        try:
            rows.append(slow.read(value))
            good.append(position)
        except Undecodable as error:
            bad[position] = error.message
    decoded = BatchDecoder(schema, lambda _: schema).decode(list(batch))
    assert {failure.position: failure.message for failure in decoded.failures} == bad
    kept = range(len(batch)) if decoded.positions is None else decoded.positions.tolist()
    assert list(kept) == good
    if rows:
        # Not by their Python values: a timestamp may be past what Python's datetime reaches.
        columns = zip(decoded.frame.columns, writer.resolved(writer.columns(rows)), strict=True)
        expected = pl.DataFrame({name: pl.Series(column) for name, column in columns})
        assert_frame_equal(decoded.frame, expected, check_exact=True)


def mutated(value: bytes, rng: random.Random) -> bytes:
    out = bytearray(value)
    at = rng.randrange(HEADER_BYTES, len(out) + 1)
    match rng.randrange(6):
        case 0:
            del out[at:]
        case 1:
            out += rng.randbytes(rng.randint(1, 3))
        case 2:
            out[at:at] = rng.choice([b"\x80", b"\x80\0", HUGE, b"\1", varint(2**33 + 1)])
        case 3:
            del out[at : at + 1]
        case _ if at < len(out):
            out[at] = rng.choice([0, 1, 2, 127, 128, 255, rng.randrange(256)])
    return bytes(out)


def test_values_that_are_right_only_as_one_are_wrong_each() -> None:
    first = varint(1 + HEADER_BYTES) + b"x"  # its text would go on in the next value's frame
    second = FRAME + text("yy")
    assert decode("string", first + FRAME + second[HEADER_BYTES:]).failures
    decoded = decode("string", text("ok"), first, second, text("ok"))
    assert [(f.position, f.error_class) for f in decoded.failures] == [
        (1, "Truncated"),
        (2, "TrailingBytes"),
    ]


@pytest.mark.parametrize("arrow", [False, True], ids=["list", "column"])
def test_positions_count_through_all_blocks(arrow: bool) -> None:
    schema = parse(record_of([{"name": "a", "type": "long"}]))
    count = 2 * AT_ONCE + 7
    batch: list[bytes | None] = [FRAME + varint(number) for number in range(count)]
    absent = [0, AT_ONCE - 1, AT_ONCE + 5]
    bad = [3, 2 * AT_ONCE + 1]
    for position in absent:
        batch[position] = None
    for position in bad:
        batch[position] = FRAME + b"\x80"
    column = pa.chunked_array([pa.array(part, pa.binary()) for part in (batch[:9], batch[9:])])
    given_ = column.slice(2) if arrow else batch[2:]
    decoded = BatchDecoder(schema, lambda _: schema).decode(given_)
    expected = [n for n in range(2, count) if n not in absent and n not in bad]
    assert decoded.tombstones.tolist() == [position - 2 for position in absent[1:]]
    assert [failure.position for failure in decoded.failures] == [n - 2 for n in bad]
    assert decoded.positions is not None
    assert decoded.positions.tolist() == [n - 2 for n in expected]
    assert decoded.frame["a"].to_list() == expected


@pytest.mark.parametrize("exponent", range(64))
def test_widths_are_those_of_the_shortest_encoding(exponent: int) -> None:
    near = (2**exponent - 1, 2**exponent, -(2**exponent), ~(2**exponent))
    numbers = [n for n in near if -(2**63) <= n < 2**63]
    for group in (numbers, [0, *numbers], *([n] for n in numbers)):
        widths = np.broadcast_to(varint_widths(np.array(group, dtype=np.int64)), len(group))
        assert widths.tolist() == [len(varint(n)) for n in group]
