"""Which changes of a schema history can still be read with, and where the others are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.avro.compatibility import check_backward
from kappa.avro.schema import AvroSchema, parse
from kappa.errors import IncompatibleSchema

Json = Any

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
DATE = {"type": "int", "logicalType": "date"}
UUID = {"type": "string", "logicalType": "uuid"}


def field(name: str, kind: Json, **more: Json) -> Json:
    return {"name": name, "type": kind, **more}


def record(*fields: Json, name: str = "order", **more: Json) -> Json:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def enum(*symbols: str, **more: Json) -> Json:
    return {"type": "enum", "name": "color", "symbols": list(symbols), **more}


def fixed(size: int, **more: Json) -> Json:
    return {"type": "fixed", "name": "hash", "size": size, **more}


def decimal(precision: int, scale: int) -> Json:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def of(kind: Json, **more: Json) -> AvroSchema:
    """A record with one field ``x``."""
    return parse(record(field("x", kind, **more)))


IN: dict[str, tuple[Callable[[Json], Json], str]] = {
    "a field": (lambda kind: kind, "x"),
    "a union": (lambda kind: ["null", kind], "x"),
    "an array": (lambda kind: {"type": "array", "items": kind}, "x[]"),
    "a map": (lambda kind: {"type": "map", "values": kind}, "x{}"),
    "a record": (lambda kind: record(field("y", kind), name="inner"), "x.y"),
    "an array of nullable records": (
        lambda kind: {
            "type": "array",
            "items": ["null", record(field("y", ["null", kind]), name="inner")],
        },
        "x[].y",
    ),
}

REFUSED: dict[str, tuple[Json, Json]] = {
    "milliseconds to microseconds": (MICROS, MILLIS),
    "microseconds to milliseconds": (MILLIS, MICROS),
    "date to timestamp": (MILLIS, DATE),
    "a timestamp gains its unit": (MILLIS, "long"),
    "a timestamp loses its unit": ("long", MILLIS),
    "a number of days to a plain number": ("long", DATE),
    "a local timestamp to an instant": (
        MILLIS,
        {"type": "long", "logicalType": "local-timestamp-millis"},
    ),
    "another scale": (decimal(10, 3), decimal(10, 2)),
    "another precision": (decimal(12, 2), decimal(10, 2)),
    "bytes to decimal": (decimal(10, 2), "bytes"),
    "decimal to bytes": ("bytes", decimal(10, 2)),
    "string to uuid": (UUID, "string"),
    "fixed to decimal": (fixed(8, logicalType="decimal", precision=9, scale=2), fixed(8)),
    "int to string": ("string", "int"),
    "long to int": ("int", "long"),
    "double to float": ("float", "double"),
    "array to map": ({"type": "map", "values": "int"}, {"type": "array", "items": "int"}),
    "a lost symbol": (enum("red", "green"), enum("red", "green", "blue")),
    "another size": (fixed(4), fixed(8)),
    "another name": (fixed(8, name="digest"), fixed(8)),
}


@pytest.mark.parametrize("place", IN)
@pytest.mark.parametrize("change", REFUSED)
def test_a_refused_change_is_found_where_it_is(change: str, place: str) -> None:
    new, old = REFUSED[change]
    within, path = IN[place]
    with pytest.raises(IncompatibleSchema, match="of version 3") as caught:
        check_backward(of(within(new)), of(within(old)), subject="orders-value", version=3)
    assert caught.value.detail == {"subject": "orders-value", "version": 3, "field": path}
    assert f"'{path}'" in caught.value.message


ACCEPTED: dict[str, tuple[Json, Json]] = {
    "int to long": ("long", "int"),
    "int to double": ("double", "int"),
    "float to double": ("double", "float"),
    "string to bytes": ("bytes", "string"),
    "one more symbol": (enum("red", "green", "blue"), enum("red", "blue")),
    "a lost symbol with a default": (enum("red", "none", default="none"), enum("red", "blue")),
    "renamed with an alias": (fixed(8, name="digest", aliases=["hash"]), fixed(8)),
    "the same timestamp": (MILLIS, MILLIS),
    "the same decimal": (decimal(10, 2), decimal(10, 2)),
    "a logical type nobody knows": ({"type": "int", "logicalType": "mood"}, "int"),
    "a logical type on the wrong base": ({"type": "string", "logicalType": "date"}, "string"),
}


@pytest.mark.parametrize("place", IN)
@pytest.mark.parametrize("change", ACCEPTED)
def test_an_accepted_change(change: str, place: str) -> None:
    new, old = ACCEPTED[change]
    within, _ = IN[place]
    check_backward(of(within(new)), of(within(old)))


@pytest.mark.parametrize("kind", ["int", MILLIS, enum("red"), record(field("y", "int"), name="i")])
def test_a_field_may_become_nullable_but_not_the_reverse(kind: Json) -> None:
    check_backward(of(["null", kind]), of(kind))
    check_backward(of(["null", kind]), of([kind, "null"]))
    with pytest.raises(IncompatibleSchema, match="'x' can no longer be null"):
        check_backward(of(kind), of(["null", kind]))


def test_nullable_with_another_type_is_found() -> None:
    with pytest.raises(IncompatibleSchema, match="'x' is of type string, was int"):
        check_backward(of(["null", "string"]), of("int"))


def test_fields_come_with_a_default_and_go_freely() -> None:
    old = parse(record(field("id", "string"), field("gone", "int")))
    check_backward(parse(record(field("id", "string"), field("note", "string", default=""))), old)
    with pytest.raises(IncompatibleSchema, match="'note' is new and has no default"):
        check_backward(parse(record(field("id", "string"), field("note", "string"))), old)


def test_a_nested_field_without_default_is_named_in_full() -> None:
    def lines(*fields: Json) -> AvroSchema:
        line = record(field("sku", "string"), *fields, name="line")
        return of({"type": "array", "items": ["null", line]})

    with pytest.raises(IncompatibleSchema, match=r"'x\[\]\.price' is new"):
        check_backward(lines(field("price", "double")), lines())


def test_a_renamed_field_is_followed_through_its_alias() -> None:
    old = parse(record(field("at", MILLIS)))
    check_backward(parse(record(field("time", MILLIS, aliases=["at"]))), old)
    with pytest.raises(IncompatibleSchema, match="'time' means timestamp-micros"):
        check_backward(parse(record(field("time", MICROS, aliases=["at"]))), old)
    with pytest.raises(IncompatibleSchema, match="'time' is new"):
        check_backward(parse(record(field("time", MILLIS))), old)


def test_a_renamed_record_needs_an_alias() -> None:
    old = parse(record(field("x", "int")))
    check_backward(parse(record(field("x", "int"), name="sale", aliases=["order"])), old)
    with pytest.raises(IncompatibleSchema, match="the schema is called sale, was order"):
        check_backward(parse(record(field("x", "int"), name="sale")), old)


def test_an_alias_is_a_name_in_the_namespace_of_its_type() -> None:
    fields = [{"name": "a", "type": "int"}]
    old = {"type": "record", "name": "Old", "namespace": "shop", "fields": fields}
    for alias in ("Old", "shop.Old"):
        check_backward(parse({**old, "name": "New", "aliases": [alias]}), parse(old))
    with pytest.raises(IncompatibleSchema, match="not among its aliases"):
        check_backward(parse({**old, "name": "New", "aliases": ["other.Old"]}), parse(old))


def test_a_field_cannot_be_read_as_text_and_as_bytes_at_once() -> None:
    kept, read = {"name": "a", "type": "bytes"}, {"name": "b", "type": "string", "aliases": ["a"]}
    old = {"type": "record", "name": "T", "fields": [kept]}
    with pytest.raises(IncompatibleSchema, match="field 'b'"):
        check_backward(parse({**old, "fields": [kept, read]}), parse(old))


def test_a_type_used_by_name_is_followed() -> None:
    def schema(amount: Json) -> AvroSchema:
        money = record(field("amount", amount), name="money")
        return parse(record(field("price", money), field("tax", ["null", "money"])))

    with pytest.raises(IncompatibleSchema, match=r"'price\.amount'"):
        check_backward(schema(decimal(9, 3)), schema(decimal(9, 2)))


KINDS = st.sampled_from(
    ["int", "long", "float", "double", "string", "bytes", "boolean", MILLIS, MICROS, DATE, UUID]
)
NAMES = st.sampled_from(["a", "b", "c", "d"])
FIELDS = st.dictionaries(NAMES, st.tuples(KINDS, st.booleans()), min_size=1)


def drawn(fields: dict[str, tuple[Json, bool]]) -> AvroSchema:
    return parse(
        record(
            *(
                field(name, ["null", kind], default=None) if nullable else field(name, kind)
                for name, (kind, nullable) in fields.items()
            )
        )
    )


@given(FIELDS)
def test_every_schema_reads_its_own_values(fields: dict[str, tuple[Json, bool]]) -> None:
    schema = drawn(fields)
    check_backward(schema, schema)
    check_backward(drawn(dict(reversed(fields.items()))), schema)


@given(FIELDS, NAMES, KINDS)
def test_a_nullable_field_may_always_be_added_and_removed(
    fields: dict[str, tuple[Json, bool]], name: str, kind: Json
) -> None:
    without = {other: fields[other] for other in fields if other != name}
    if without:
        more, less = drawn({**without, name: (kind, True)}), drawn(without)
        check_backward(more, less)
        check_backward(less, more)


@given(FIELDS, FIELDS)
def test_a_change_that_is_never_allowed_is_always_refused(
    new: dict[str, tuple[Json, bool]], old: dict[str, tuple[Json, bool]]
) -> None:
    def logical(kind: Json) -> Json:
        return kind.get("logicalType") if isinstance(kind, dict) else None

    common = new.keys() & old.keys()
    changed = {name for name in common if logical(new[name][0]) != logical(old[name][0])}
    lost_null = {name for name in common if old[name][1] and not new[name][1]}
    required = {name for name in new.keys() - old.keys() if not new[name][1]}
    if changed | lost_null | required:
        with pytest.raises(IncompatibleSchema) as caught:
            check_backward(drawn(new), drawn(old))
        assert caught.value.detail["field"] in new
