"""Decoding to columns gives fastavro's values, for any schema kappa accepts and any evolution."""

from __future__ import annotations

import copy
import io
import itertools
import math
import random
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import fastavro
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.avro.columns import polars_schema
from kappa.avro.cursor import Undecodable
from kappa.avro.decode import BatchDecoder, Decoded
from kappa.avro.framed import is_vectorised
from kappa.avro.nodes import Array, Enum, Fixed, Map, Node, Nullable, Primitive, Record
from kappa.avro.reference import ReferenceDecoder
from kappa.avro.schema import AvroSchema, parse
from kappa.avro.wire import header
from kappa.errors import IncompatibleSchema, InvalidSchema, UnknownSchema

Json = Any

_NAMES = itertools.count()

# --- schemas and values -------------------------------------------------------------------

LEAVES: list[Json] = [
    "boolean",
    "int",
    "long",
    "float",
    "double",
    "string",
    "bytes",
    {"type": "int", "logicalType": "date"},
    {"type": "int", "logicalType": "time-millis"},
    {"type": "long", "logicalType": "time-micros"},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "long", "logicalType": "timestamp-nanos"},
    {"type": "long", "logicalType": "local-timestamp-millis"},
    {"type": "long", "logicalType": "local-timestamp-micros"},
    {"type": "string", "logicalType": "uuid"},
    {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3},
    {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 0},
    {"type": "string", "logicalType": "nobody-knows-this"},
]
FIXED: list[Json] = [
    {"type": "fixed", "name": "F", "size": 3},
    {"type": "fixed", "name": "F", "size": 16, "logicalType": "uuid"},
    {"type": "fixed", "name": "F", "size": 20},
    {
        "type": "fixed",
        "name": "F",
        "size": 9,
        "logicalType": "decimal",
        "precision": 20,
        "scale": 5,
    },
    {"type": "fixed", "name": "F", "size": 12, "logicalType": "duration"},
]
ODD = [kind for kind in FIXED if kind["size"] % 4]
"""What makes the reference decode all of a record."""


@st.composite
def types(draw: st.DrawFn, *, fixed: bool, depth: int = 2) -> Json:
    """A field's type; every named type gets a name of its own."""
    kinds = ["leaf", "leaf", "leaf", "enum", "nullable"]
    kinds += ["fixed", "fixed", "fixed"] if fixed else []
    kinds += ["array", "map", "record"] if depth else []
    match draw(st.sampled_from(kinds)):
        case "leaf":
            return draw(st.sampled_from(LEAVES))
        case "fixed":
            return {**draw(st.sampled_from(FIXED)), "name": _name()}
        case "enum":
            return {"type": "enum", "name": _name(), "symbols": ["RED", "GREEN", "BLUE"]}
        case "nullable":
            inner = draw(types(fixed=fixed, depth=depth).filter(lambda t: not isinstance(t, list)))
            return draw(st.sampled_from([["null", inner], [inner, "null"]]))
        case "array":
            return {"type": "array", "items": draw(types(fixed=fixed, depth=depth - 1))}
        case "map":
            return {"type": "map", "values": draw(types(fixed=fixed, depth=depth - 1))}
    inner = draw(st.lists(types(fixed=fixed, depth=depth - 1), min_size=1, max_size=3))
    return {"type": "record", "name": _name(), "fields": _fields(inner)}


def _name() -> str:
    return f"N{next(_NAMES)}"


def _fields(inner: list[Json]) -> list[Json]:
    return [{"name": f"f{number}", "type": kind} for number, kind in enumerate(inner)]


def values(node: Node) -> st.SearchStrategy[Any]:
    """Values of a node in the form that fastavro writes."""
    match node:
        case Nullable(inner):
            return st.none() | values(inner)
        case Enum(symbols=symbols):
            return st.sampled_from(symbols)
        case Array(items):
            return st.lists(values(items), max_size=3)
        case Map(inner):
            return st.dictionaries(st.text(max_size=3), values(inner), max_size=3)
        case Record(fields=fields):
            return st.fixed_dictionaries({f.name: values(f.node) for f in fields})
        case Fixed(size=size, logical=logical):
            if logical is None:
                return st.binary(min_size=size, max_size=size)
            # fastavro has no uuid of this base: it takes and gives the bytes.
            return (
                st.binary(min_size=16, max_size=16) if logical.name == "uuid" else _decimals(20, 5)
            )
        case Primitive(name, logical):
            return _primitive(name, logical.name if logical else "", logical)
    raise AssertionError(node)


def _decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    most = 10**precision - 1
    return st.integers(-most, most).map(lambda n: Decimal((n < 0, _digits(n), -scale)))


def _digits(number: int) -> tuple[int, ...]:
    return tuple(int(digit) for digit in str(abs(number)))


def _primitive(name: str, logical: str, detail: Any) -> st.SearchStrategy[Any]:
    naive = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1))
    match logical:
        case "date":
            return st.dates()
        case "time-millis":
            return st.times().map(lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000))
        case "time-micros":
            return st.times()
        case "timestamp-nanos":  # fastavro leaves these as they are
            return st.integers(-(10**15), 10**15).map(lambda us: us * 1000)
        case "timestamp-millis":
            return naive.map(_to_ms).map(lambda t: t.replace(tzinfo=UTC))
        case "timestamp-micros":
            return naive.map(lambda t: t.replace(tzinfo=UTC))
        case "local-timestamp-millis":
            return naive.map(_to_ms)
        case "local-timestamp-micros":
            return naive
        case "uuid":
            return st.uuids()
        case "decimal":
            return _decimals(detail.precision, detail.scale)
    return {
        "null": st.none(),
        "boolean": st.booleans(),
        "int": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1),
        "float": st.floats(width=32),
        "double": st.floats(),
        "string": st.text(max_size=6),
        "bytes": st.binary(max_size=6),
    }[name]


def _to_ms(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


# --- comparing ----------------------------------------------------------------------------


def frame_value(value: Any, node: Node) -> Any:
    """A value from a frame in the form that fastavro reads."""
    if value is None:
        return None
    match node:
        case Nullable(inner):
            return frame_value(value, inner)
        case Array(items):
            return [frame_value(item, items) for item in value]
        case Map(inner):
            return {entry["key"]: frame_value(entry["value"], inner) for entry in value}
        case Record(fields=fields):
            return {f.name: frame_value(value[f.name], f.node) for f in fields}
    return value


def same(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return left == right or (math.isnan(left) and math.isnan(right))
    if isinstance(left, datetime) and isinstance(right, int):
        since = left - datetime(1970, 1, 1, tzinfo=UTC)
        return since // timedelta(microseconds=1) * 1000 == right
    if isinstance(left, str) and isinstance(right, bytes):
        return left == str(uuid.UUID(bytes=right))
    if isinstance(left, str) and not isinstance(right, str):
        return left == str(right)  # a uuid is shown as its text
    return bool(left == right)


def framed(schema: Json, record: dict[str, Any], schema_id: int = 1) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(copy.deepcopy(schema)), record)
    return header(schema_id) + out.getvalue()


def fastavro_reads(data: bytes, writer: Json, reader: Json) -> Any:
    return fastavro.schemaless_reader(
        io.BytesIO(data[5:]), copy.deepcopy(writer), copy.deepcopy(reader)
    )


def decode(writer: AvroSchema, reader: AvroSchema, data: list[bytes | None]) -> Decoded:
    return BatchDecoder(reader, lambda _: writer).decode(data)


def record_of(fields: list[Json]) -> Json:
    return {"type": "record", "name": "Top", "fields": fields}


# --- tests --------------------------------------------------------------------------------

relaxed = settings(max_examples=100)


@pytest.mark.parametrize("path", ["vectorised", "either", "reference"])
@given(data=st.data())
@relaxed
def test_any_schema_and_data_give_the_values_of_fastavro(data: st.DataObject, path: str) -> None:
    kinds = data.draw(st.lists(types(fixed=path != "vectorised"), min_size=1, max_size=4))
    if path == "reference":
        kinds.append({**data.draw(st.sampled_from(ODD)), "name": _name()})
    document = record_of(_fields(kinds))
    schema = parse(document)
    if path != "either":
        assert is_vectorised(schema.record) == (path == "vectorised")
    records = data.draw(st.lists(values(schema.record), min_size=1, max_size=4))
    encoded = [framed(document, record) for record in records]
    decoded = decode(schema, schema, list(encoded))
    assert decoded.failures == ()
    for row, datum in zip(decoded.frame.to_dicts(), encoded, strict=True):
        expected = fastavro_reads(datum, document, None)
        assert same(frame_value(row, schema.record), expected)


PROMOTIONS = [
    ("int", "long"), ("int", "float"), ("int", "double"), ("long", "float"), ("long", "double"),
    ("float", "double"), ("string", "bytes"), ("bytes", "string"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), PROMOTIONS)
@pytest.mark.parametrize("shape", ["plain", "nullable", "array", "map", "nested"])
def test_promotions_at_every_place(before: str, after: str, shape: str) -> None:
    def shaped(kind: str) -> Json:
        return {
            "plain": kind,
            "nullable": ["null", kind],
            "array": {"type": "array", "items": kind},
            "map": {"type": "map", "values": kind},
            "nested": {"type": "record", "name": "In", "fields": [{"name": "x", "type": kind}]},
        }[shape]

    value: Any = {"int": 7, "long": 2**53 + 1, "float": 1.5, "string": "é", "bytes": b"ab"}[before]
    wrapped = {
        "plain": value, "nullable": value, "array": [value], "map": {"k": value},
        "nested": {"x": value},
    }[shape]  # fmt: skip
    writer = record_of([{"name": "a", "type": shaped(before)}])
    reader = record_of([{"name": "a", "type": shaped(after)}])
    datum = framed(writer, {"a": wrapped})
    decoded = decode(parse(writer), parse(reader), [datum])
    expected = fastavro_reads(datum, writer, reader)
    (row,) = decoded.frame.to_dicts()
    got = frame_value(row, parse(reader).record)
    if after == "float":  # fastavro widens to a double where the schema says 32 bits
        expected = narrowed(expected)
    assert same(got, expected)


def narrowed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: narrowed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [narrowed(item) for item in value]
    return float(np.float32(value))


def test_fields_come_by_name_or_alias_and_missing_ones_from_decoded_defaults() -> None:
    inner = {
        "type": "record",
        "name": "Inner",
        "fields": [{"name": "n", "type": "int"}, {"name": "t", "type": "string", "default": "d"}],
    }
    writer = record_of(
        [
            {"name": "gone", "type": "string"},
            {"name": "old", "type": "int"},
            {"name": "colour", "type": {"type": "enum", "name": "C", "symbols": ["RED", "PINK"]}},
        ]
    )
    money = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}
    when = {"type": "long", "logicalType": "timestamp-millis"}
    reader = record_of(
        [
            {
                "name": "colour",
                "type": {
                    "type": "enum",
                    "name": "C",
                    "symbols": ["RED", "X"],
                    "default": "X",
                },
            },
            {"name": "new", "aliases": ["old"], "type": "long"},
            {"name": "raw", "type": "bytes", "default": "\u00ff"},
            {"name": "price", "type": money, "default": "\u0001\u0000"},
            {"name": "at", "type": when, "default": 1000},
            {"name": "maybe", "type": ["null", "int"], "default": None},
            {"name": "inner", "type": inner, "default": {"n": 3}},
            {"name": "list", "type": {"type": "array", "items": "int"}, "default": [1, 2]},
            {"name": "map", "type": {"type": "map", "values": "int"}, "default": {"k": 1}},
        ]
    )
    data = [
        framed(writer, {"gone": "x", "old": n, "colour": c}) for n, c in [(1, "RED"), (2, "PINK")]
    ]
    decoded = decode(parse(writer), parse(reader), list(data))
    default = {
        "raw": b"\xff",
        "price": Decimal("2.56"),
        "at": datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=1),
        "maybe": None,
        "inner": {"n": 3, "t": "d"},
        "list": [1, 2],
        "map": [{"key": "k", "value": 1}],
    }
    assert decoded.frame.to_dicts() == [
        {"colour": "RED", "new": 1, **default},
        {"colour": "X", "new": 2, **default},
    ]


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ("long", "int", "'a'"),
        ({"type": "long", "logicalType": "timestamp-millis"},
         {"type": "long", "logicalType": "timestamp-micros"}, "logical"),
        (["null", "int"], "int", "null"),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]},
         {"type": "enum", "name": "E", "symbols": ["A"]}, "B"),
        ({"type": "array", "items": "string"}, {"type": "array", "items": "int"}, r"a\[\]"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_before_any_row(
    before: Json, after: Json, word: str
) -> None:
    writer, reader = (parse(record_of([{"name": "a", "type": kind}])) for kind in (before, after))
    with pytest.raises(IncompatibleSchema, match=word):
        decode(writer, reader, [header(1) + b"\0\0"])


ORDER = record_of(
    [
        {"name": "id", "type": "long"},
        {"name": "name", "type": "string"},
        {"name": "size", "type": ["null", "int"]},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A", "B", "C"]}},
        {"name": "ok", "type": "boolean"},
    ]
)
WITH_FIXED = record_of([*ORDER["fields"], {"name": "f", "type": {**FIXED[0], "name": "F"}}])


def order(number: int) -> dict[str, Any]:
    return {
        "id": number, "name": "né" * (number % 3), "size": number if number % 2 else None,
        "tags": ["t"] * (number % 4), "e": "ABC"[number % 3], "ok": number % 5 == 0, "f": b"123",
    }  # fmt: skip


@pytest.mark.parametrize("document", [ORDER, WITH_FIXED], ids=["vectorised", "reference"])
def test_mutated_bytes_are_found_exactly_and_spoil_nothing(document: Json) -> None:
    schema = parse(document)
    rng = random.Random(5)
    for _ in range(60):
        data = [framed(document, order(n)) for n in range(12)]
        for at in rng.sample(range(12), rng.randrange(4)):
            datum = bytearray(data[at])
            match rng.randrange(4):
                case 0:
                    datum[rng.randrange(5, len(datum))] = rng.randrange(256)
                case 1:
                    del datum[rng.randrange(5, len(datum)) :]
                case 2:
                    datum += bytes([rng.randrange(256)])
                case _:
                    datum[5:] = rng.randbytes(rng.randrange(30))
            data[at] = bytes(datum)
        bad = set()
        for at, datum in enumerate(data):
            try:
                ReferenceDecoder(schema.record).read(datum)
            except Undecodable:
                bad.add(at)
        decoded = decode(schema, schema, list(data))
        assert {failure.position for failure in decoded.failures} == bad
        good = [at for at in range(12) if at not in bad]
        expected = [fastavro_reads(data[at], document, None) for at in good]
        assert decoded.frame.to_dicts() == expected
        kept = range(12) if decoded.positions is None else decoded.positions.tolist()
        assert list(kept) == good


def test_tombstones_and_values_without_a_frame() -> None:
    schema = parse(ORDER)
    data = [None, framed(ORDER, order(1)), b"", b"\x01\0\0\0\1x", None, framed(ORDER, order(2))]
    decoded = decode(schema, schema, data)
    assert decoded.tombstones.tolist() == [0, 4]
    assert [failure.position for failure in decoded.failures] == [2, 3]
    assert decoded.positions is not None
    assert decoded.positions.tolist() == [1, 5]
    assert decoded.frame["id"].to_list() == [1, 2]


def test_several_writers_in_one_batch_keep_its_order() -> None:
    older = record_of([{"name": "id", "type": "int"}])
    newer = record_of([{"name": "id", "type": "long"}, {"name": "n", "type": "int", "default": 9}])
    schemas = {1: parse(older), 2: parse(newer)}
    data: list[bytes | None] = []
    for number in range(10):
        which = number % 3 == 0
        record = {"id": number, "n": 1} if which else {"id": number}
        data.append(framed(newer if which else older, record, 2 if which else 1))
    decoded = BatchDecoder(schemas[2], schemas.__getitem__).decode(data)
    assert decoded.frame["id"].to_list() == list(range(10))
    assert decoded.frame["n"].to_list() == [1 if n % 3 == 0 else 9 for n in range(10)]
    assert decoded.schema_ids == {1, 2}


def test_an_unknown_schema_id_halts() -> None:
    def nobody(schema_id: int) -> AvroSchema:
        raise UnknownSchema("no", schema_id=schema_id)

    with pytest.raises(UnknownSchema):
        BatchDecoder(parse(ORDER), nobody).decode([framed(ORDER, order(1), 2**31 - 1)])


def test_only_the_columns_asked_for_but_the_whole_datum_checked() -> None:
    schema = parse(ORDER)
    data: list[bytes | None] = [framed(ORDER, order(1)), framed(ORDER, order(2))]
    broken = data[1]
    assert broken is not None
    data[1] = broken.replace("né".encode(), b"n\xff\xff")
    decoded = BatchDecoder(schema, lambda _: schema, columns={"id"}).decode(data)
    assert decoded.frame.columns == ["id"]
    assert decoded.frame["id"].to_list() == [1]
    assert "UTF-8" in decoded.failures[0].message


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (["int", "string"], "union"),
        ({"type": "array", "items": "null"}, "zero width"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 39}, "precision"),
        ({"type": "record", "name": "E", "fields": []}, "no fields"),
        (
            {"type": "record", "name": "Top2", "fields": [{"name": "x", "type": "Top2"}]},
            "recursive",
        ),
        ("nothing", "no type"),
    ],
)
def test_shapes_without_columns_are_refused_by_name(kind: Json, word: str) -> None:
    with pytest.raises(InvalidSchema, match=word):
        parse(record_of([{"name": "a", "type": kind}]))


def test_a_time_of_day_outside_the_day_is_a_failure() -> None:
    kind = {"type": "int", "logicalType": "time-millis"}
    plain = record_of([{"name": "a", "type": "int"}])
    schema = parse(record_of([{"name": "a", "type": kind}]))
    data = [framed(plain, {"a": value}) for value in (0, 86_400_000, -1, 86_399_999)]
    decoded = decode(schema, schema, list(data))
    assert [failure.position for failure in decoded.failures] == [1, 2]
    assert decoded.frame["a"].to_list() == [time(0), time(23, 59, 59, 999000)]


def test_polars_types_of_every_leaf() -> None:
    document = record_of([{"name": f"f{n}", "type": kind} for n, kind in enumerate(LEAVES)])
    found = dict(
        zip([str(k) for k in LEAVES], polars_schema(parse(document)).dtypes(), strict=True)
    )
    assert found[str(LEAVES[7])] == pl.Date
    assert found[str(LEAVES[10])] == pl.Datetime("ms", "UTC")
    assert found[str(LEAVES[13])] == pl.Datetime("ms")
    assert found[str(LEAVES[16])] == pl.Decimal(9, 3)
    assert date(2000, 1, 1) == pl.Series([10957]).cast(pl.Date)[0]
