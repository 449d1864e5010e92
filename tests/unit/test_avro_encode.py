"""What the encoder writes is what fastavro writes, for every shape kappa takes."""

from __future__ import annotations

import io
import itertools
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import fastavro
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.avro import schema as avro
from kappa.avro.columns import polars_schema
from kappa.avro.encode import BatchEncoder
from kappa.avro.nodes import Array, Map, Node, Nullable, Record

SCHEMA_ID = 258
HEADER = b"\0\0\0\1\2"

_TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
_MOMENTS = st.datetimes(datetime(1800, 1, 1), datetime(2300, 1, 1))


def _milli(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


# A type and the values it can have, as fastavro takes them.
_SIMPLE: list[tuple[Any, st.SearchStrategy[Any]]] = [
    ("boolean", st.booleans()),
    ("int", st.integers(-(2**31), 2**31 - 1)),
    ("long", st.integers(-(2**63), 2**63 - 1)),
    ("float", st.floats(width=32)),
    ("double", st.floats()),
    ("string", _TEXT),
    ("bytes", st.binary(max_size=5)),
    ({"type": "int", "logicalType": "date"}, st.dates(date(1, 1, 1), date(9999, 12, 31))),
    (
        {"type": "long", "logicalType": "timestamp-millis"},
        _MOMENTS.map(lambda m: _milli(m).replace(tzinfo=UTC)),
    ),
    (
        {"type": "long", "logicalType": "timestamp-micros"},
        _MOMENTS.map(lambda m: m.replace(tzinfo=UTC)),
    ),
    ({"type": "long", "logicalType": "local-timestamp-millis"}, _MOMENTS.map(_milli)),
    ({"type": "long", "logicalType": "local-timestamp-micros"}, _MOMENTS),
    (
        {"type": "int", "logicalType": "time-millis"},
        st.times().map(lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000)),
    ),
    ({"type": "long", "logicalType": "time-micros"}, st.times()),
    ({"type": "string", "logicalType": "uuid"}, st.uuids()),
    (
        {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3},
        st.decimals("-999999", "999999", places=3),
    ),
]
_NAMES = itertools.count()


def _named() -> Iterator[tuple[Any, st.SearchStrategy[Any]]]:
    """Named types; every use needs a name of its own."""
    yield (
        {"type": "enum", "name": f"E{next(_NAMES)}", "symbols": ["A", "B", "C"]},
        st.sampled_from("ABC"),
    )
    yield (
        {"type": "fixed", "name": f"F{next(_NAMES)}", "size": 3},
        st.binary(min_size=3, max_size=3),
    )
    yield (
        {
            "type": "fixed",
            "name": f"F{next(_NAMES)}",
            "size": 5,
            "logicalType": "decimal",
            "precision": 9,
            "scale": 2,
        },
        st.decimals("-9999999", "9999999", places=2),
    )


@st.composite
def typed(draw: st.DrawFn, depth: int = 2) -> tuple[Any, st.SearchStrategy[Any]]:
    kind = draw(
        st.sampled_from(["simple"] * 4 + ["null"] + ["array", "map", "record"] * (depth > 0))
    )
    if kind == "simple":
        return draw(st.sampled_from([*_SIMPLE, *_named()]))
    if kind == "null":
        inner, values = draw(typed(depth).filter(lambda t: not isinstance(t[0], list)))
        union = ["null", inner] if draw(st.booleans()) else [inner, "null"]
        return union, st.none() | values
    if kind == "record":
        members = draw(st.lists(typed(depth - 1), min_size=1, max_size=3))
        fields = [{"name": f"f{n}", "type": schema} for n, (schema, _) in enumerate(members)]
        values = st.fixed_dictionaries({f"f{n}": v for n, (_, v) in enumerate(members)})
        return {"type": "record", "name": f"R{next(_NAMES)}", "fields": fields}, values
    inner, values = draw(typed(depth - 1))
    if kind == "array":
        return {"type": "array", "items": inner}, st.lists(values, max_size=3)
    return {"type": "map", "values": inner}, st.dictionaries(_TEXT, values, max_size=3)


@st.composite
def record_and_rows(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    members = draw(st.lists(typed(), min_size=1, max_size=4))
    fields = [{"name": f"c{n}", "type": schema} for n, (schema, _) in enumerate(members)]
    rows = st.fixed_dictionaries({f"c{n}": values for n, (_, values) in enumerate(members)})
    return {"type": "record", "name": "Root", "fields": fields}, draw(st.lists(rows, max_size=4))


def frame_of(schema: avro.AvroSchema, rows: list[dict[str, Any]]) -> pl.DataFrame:
    columns = polars_schema(schema)
    nodes = {field.name: field.node for field in schema.record.fields}
    return pl.DataFrame(
        [
            pl.Series(name, [_in_polars(row[name], nodes[name]) for row in rows], dtype)
            for name, dtype in columns.items()
        ]
    )


def _in_polars(value: Any, node: Node) -> Any:
    match node:
        case Nullable(inner):
            return None if value is None else _in_polars(value, inner)
        case Array(items):
            return [_in_polars(item, items) for item in value]
        case Map(values):
            return [{"key": k, "value": _in_polars(v, values)} for k, v in value.items()]
        case Record(fields=fields):
            return {field.name: _in_polars(value[field.name], field.node) for field in fields}
    return str(value) if isinstance(value, uuid.UUID) else value


def by_fastavro(schema: dict[str, Any], rows: list[dict[str, Any]]) -> list[bytes]:
    parsed = fastavro.parse_schema(json.loads(json.dumps(schema)))
    written = []
    for row in rows:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, row, strict=True)
        written.append(HEADER + out.getvalue())
    return written


@settings(max_examples=80)
@given(record_and_rows())
def test_it_writes_what_fastavro_writes(case: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    document, rows = case
    schema = avro.parse(document)
    assert BatchEncoder(schema, SCHEMA_ID).encode(frame_of(schema, rows)) == by_fastavro(
        document, rows
    )


@pytest.mark.parametrize(
    ("kind", "vectorised"),
    [
        ("string", True),
        (["null", "double"], True),
        ({"type": "int", "logicalType": "time-millis"}, True),
        ({"type": "array", "items": {"type": "int", "logicalType": "date"}}, True),
        ({"type": "array", "items": {"type": "int", "logicalType": "time-millis"}}, False),
        ({"type": "map", "values": "long"}, False),
        ("bytes", False),
    ],
)
def test_which_shapes_are_vectorised(kind: Any, vectorised: bool) -> None:
    schema = avro.parse({"type": "record", "name": "R", "fields": [{"name": "f", "type": kind}]})
    assert BatchEncoder(schema, 1).vectorised is vectorised


def test_moments_beyond_pythons_calendar_are_written() -> None:
    """Both ways; a map beside it forces the slower one."""
    millis = {"type": "long", "logicalType": "timestamp-millis"}
    for other in ("int", {"type": "map", "values": "int"}):
        fields = [{"name": "at", "type": millis}, {"name": "other", "type": other}]
        schema = avro.parse({"type": "record", "name": "R", "fields": fields})
        types = polars_schema(schema)
        at = pl.Series("at", [2**60], dtype=pl.Int64).cast(types["at"])
        empty = pl.Series("other", [0 if other == "int" else []], dtype=types["other"])
        (value,) = BatchEncoder(schema, SCHEMA_ID).encode(pl.DataFrame([at, empty]))
        plain = {"type": "record", "name": "R", "fields": [{"name": "at", "type": "long"}]}
        assert value == by_fastavro(plain, [{"at": 2**60}])[0] + b"\0"


def test_a_column_more_or_in_another_order_does_not_matter() -> None:
    fields = [{"name": "a", "type": "int"}, {"name": "b", "type": "string"}]
    document = {"type": "record", "name": "R", "fields": fields}
    encoder = BatchEncoder(avro.parse(document), SCHEMA_ID)
    frame = pl.DataFrame({"@offset": [1], "b": ["x"], "a": [2]})
    assert encoder.encode(frame) == by_fastavro(document, [{"a": 2, "b": "x"}])
    assert encoder.encode(frame.clear()) == []
