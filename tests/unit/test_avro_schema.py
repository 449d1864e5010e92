"""Schemas that are refused are refused with the field's name; the others become nodes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kappa.avro.nodes import Enum, Field, Fixed, Logical, Nullable, Primitive, Record
from kappa.avro.schema import parse
from kappa.errors import InvalidSchema

Json = Any


def record(kind: Json, name: str = "T", **more: Json) -> Json:
    return {"type": "record", "name": name, "fields": [{"name": "a", "type": kind, **more}]}


def nested(levels: int) -> Json:
    kind: Json = "int"
    for _ in range(levels):
        kind = {"type": "array", "items": kind}
    return kind


def doubling(levels: int) -> Json:
    """A few lines whose records, written out, are more than memory holds."""
    kind: Json = record("int", "R0")
    for level in range(1, levels):
        kind = record(kind, f"R{level}")
        kind["fields"].append({"name": "b", "type": f"R{level - 1}"})
    return kind


NULLS = record("null", "Nulls")


@pytest.mark.parametrize(
    ("document", "field", "reason"),
    [
        (record("nothing"), "a", "no type 'nothing'"),
        (record(5), "a", "no type"),
        (record(["int", "string"]), "a", "union"),
        (record(["int"]), "a", "union"),
        (record([]), "a", "union"),
        (record(["null", ["null", "int"]]), "a", "union directly inside"),
        (record(record("int")), "a", "defined twice"),
        (record(record("T", "In")), "a.a", "recursive"),
        (record({"type": "array", "items": "null"}), "a[]", "zero width"),
        (record({"type": "array", "items": NULLS}), "a[]", "zero width"),
        (record({"type": "map", "values": NULLS}), "a{}", "zero width"),
        (record(nested(40)), "a" + "[]" * 32, "nest deeper"),
        (doubling(30), None, "more than 4096 types"),
        (record({"type": "record", "name": "E", "fields": []}), "a", "no fields"),
        (record({"type": "record", "name": "E"}), "a", "no fields"),
        (record({"type": "fixed", "name": "F", "size": 0}), "a", "a size from 1"),
        (record({"type": "fixed", "name": "F", "size": "4"}), "a", "a size from 1"),
        (record({"type": "fixed", "name": "F", "size": 2**31}), "a", "a size from 1"),
        (record({"type": "enum", "name": "E", "symbols": []}), "a", "symbols"),
        (record({"type": "enum", "name": "E", "symbols": ["A", "A"]}), "a", "each once"),
        (record({"type": "enum", "name": "E", "symbols": ["A-B"]}), "a", "name of a symbol"),
        (record({"type": "enum", "name": "E", "symbols": ["A"], "default": "B"}), "a", "no symbol"),
        (record({"type": "bytes", "logicalType": "decimal", "precision": 39}), "a", "precision"),
        (record({"type": "bytes", "logicalType": "decimal"}), "a", "precision"),
        (record({"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 3}),
         "a", "scale"),
        (record({"type": "fixed", "name": "F", "size": 2, "logicalType": "decimal",
                 "precision": 5}), "a", "does not fit"),
        (record("int", default="x"), "a", "default"),
        (record("int", default=True), "a", "default"),
        (record("int", default=2**31), "a", "default"),
        (record("string", default=1), "a", "default"),
        (record(["null", "string"], default=1), "a", "default"),
        (record({"type": "array", "items": "int"}, default={}), "a", "default"),
        (record(record("int", "In"), default={}), "a", "default"),
        (record({"type": "int", "logicalType": "time-millis"}, default=-1), "a", "default"),
        (record("int", aliases="b"), "a", "aliases"),
        ({"type": "record", "name": "T", "fields": [{"name": "a-b", "type": "int"}]},
         None, "name of a field"),
        ({"type": "record", "name": "T", "fields": [{"name": "a", "type": "int"}] * 2},
         None, "two fields 'a'"),
        ({"type": "record", "fields": [{"name": "a", "type": "int"}]}, None, "needs a name"),
        ({"type": "record", "name": "1T", "fields": [{"name": "a", "type": "int"}]},
         None, "name of a type"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, None, "must be a record"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field_and_the_reason(
    document: Json, field: str | None, reason: str
) -> None:
    with pytest.raises(InvalidSchema, match=reason) as caught:
        parse(document)
    if field is not None:
        assert caught.value.detail["field"] == field


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"int"', "\xff", "[" * 100_000, '{"a":' * 100_000, " " * 2_000_000],
)
def test_what_is_no_schema_at_all_is_refused(text: str) -> None:
    with pytest.raises(InvalidSchema):
        parse(text)


def test_names_are_resolved_in_their_namespace() -> None:
    document = {
        "type": "record",
        "name": "Top",
        "namespace": "shop",
        "aliases": ["Old"],
        "fields": [
            {"name": "a", "type": {"type": "enum", "name": "E", "symbols": ["X"]}},
            {"name": "b", "type": ["E", "null"], "aliases": ["c"]},
            {"name": "d", "type": {"type": "fixed", "name": "other.F", "size": 16,
                                   "logicalType": "uuid"}},
            {"name": "e", "type": "other.F"},
        ],
    }  # fmt: skip
    enum = Enum("shop.E", ("X",))
    fixed = Fixed("other.F", 16, logical=Logical("uuid"))
    assert parse(document).record == Record(
        "shop.Top",
        (
            Field("a", enum),
            Field("b", Nullable(enum, null_first=False), ("c",)),
            Field("d", fixed),
            Field("e", fixed),
        ),
        ("shop.Old",),
    )


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "long", "logicalType": "nobody-knows-this"},
        {"type": "long", "logicalType": "date"},
        {"type": "long", "logicalType": 7},
    ],
)
def test_a_logical_type_that_is_unknown_or_on_another_type_is_ignored(kind: Json) -> None:
    assert parse(record(kind)).record.fields[0].node == Primitive("long")


def test_equal_texts_are_equal_schemas() -> None:
    document = record("int")
    assert parse(document) == parse(json.dumps(document, indent=4))
    assert len({parse(document), parse(json.dumps(document)), parse(record("long"))}) == 2
