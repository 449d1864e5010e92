"""What fits a schema and what does not, value by value and column by column."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.avro import schema as avro
from kappa.avro.nodes import Array, Enum, Field, Fixed, Logical, Map, Node, Nullable, Primitive
from kappa.publishing.columns import convert
from kappa.publishing.digits import Written
from kappa.publishing.misfit import Misfit
from kappa.publishing.values import conform, default_of

INT = Primitive("int")
LONG = Primitive("long")
FLOAT = Primitive("float")
DOUBLE = Primitive("double")
STRING = Primitive("string")
BOOLEAN = Primitive("boolean")
MILLIS = Primitive("long", Logical("timestamp-millis"))
MICROS = Primitive("long", Logical("timestamp-micros"))
NANOS = Primitive("long", Logical("timestamp-nanos"))
LOCAL = Primitive("long", Logical("local-timestamp-millis"))
DATE = Primitive("int", Logical("date"))
CLOCK = Primitive("int", Logical("time-millis"))
PRICE = Primitive("bytes", Logical("decimal", 5, 2))
SIDE = Enum("Side", ("BUY", "SELL"))
BYTES = Primitive("bytes")
FIXED = Fixed("Two", 2)
UUID = Primitive("string", Logical("uuid"))


def maybe(node: Node) -> Nullable:
    return Nullable(node, null_first=True)


@pytest.mark.parametrize(
    ("value", "node", "physical"),
    [
        (2**31 - 1, INT, 2**31 - 1),
        (-(2**63), LONG, -(2**63)),
        (3, DOUBLE, 3.0),
        ("Infinity", DOUBLE, math.inf),
        (3.4e38, FLOAT, 3.4e38),
        ("é", STRING, "é"),
        (1_700_000_000_123, MILLIS, 1_700_000_000_123),
        ("1970-01-01T00:00:01.5Z", MILLIS, 1500),
        ("1970-01-01T01:00:00+01:00", MILLIS, 0),
        ("1970-01-01T00:00:01", MILLIS, 1000),
        ("1970-01-01T00:00:00.001999Z", MILLIS, 1),
        ("1969-12-31T23:59:59.999999Z", MILLIS, -1),
        ("1970-01-01T00:00:00.000001Z", MICROS, 1),
        (datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), MICROS, 0),
        ("1970-01-01T00:00:01", LOCAL, 1000),
        ("1970-01-02", DATE, 1),
        (date(1969, 12, 31), DATE, -1),
        (7, DATE, 7),
        ("00:00:01.5", CLOCK, 1500),
        (time(0, 0, 1), CLOCK, 1000),
        ("12.50", PRICE, Decimal("12.50")),
        (12.5, PRICE, Decimal("12.50")),
        (-999, PRICE, Decimal("-999.00")),
        ("1e2", PRICE, Decimal("100.00")),
        ("BUY", SIDE, "BUY"),
        ("/w==", BYTES, b"\xff"),
        (b"ab", FIXED, b"ab"),
        ("6F9619FF-8B86-D011-B42D-00C04FC964FF", UUID, "6f9619ff-8b86-d011-b42d-00c04fc964ff"),
        ([1, None], Array(maybe(INT)), [1, None]),
        ({"a": 1}, Map(INT), {"a": 1}),
        ("1970-01-01T00:00:00.123456789Z", NANOS, 123_456_789),
        ("1970-01-01T00:00:00,1234567", NANOS, 123_456_700),
        (None, Primitive("null"), None),
    ],
)
def test_a_value_that_fits(value: object, node: Node, physical: object) -> None:
    found = conform(value, node)
    assert found == physical
    assert type(found) is type(physical)


@pytest.mark.parametrize(
    ("value", "node", "reason"),
    [
        (2**31, INT, "out of the range of int"),
        (2**63, LONG, "out of the range of long"),
        (1.0, LONG, "1.0 is no long"),
        (True, LONG, "True is no long"),
        ("7", LONG, "'7' is no long"),
        (None, LONG, "null, where long is needed"),
        (True, DOUBLE, "True is no double"),
        ("nan", DOUBLE, "'nan' is no double"),
        (3.5e38, FLOAT, "out of the range of float"),
        (10**400, DOUBLE, "out of the range of double"),
        (1, STRING, "1 is no string"),
        (1, BOOLEAN, "1 is no boolean"),
        ("yesterday", MILLIS, "no ISO 8601 timestamp"),
        ("0001-01-01T00:00:00+23:00", MILLIS, "out of range"),
        ("1970-01-01T00:00:01Z", LOCAL, "a local timestamp has no offset"),
        ("1970-13-01", DATE, "no ISO 8601 date"),
        (86_400_000, CLOCK, "not within a day"),
        ("12:00:00+01:00", CLOCK, "has no offset"),
        ("1.234", PRICE, "more than 2 digits after the point"),
        ("1000", PRICE, "more than 5 digits"),
        (0.1 + 0.2, PRICE, "write it as a string"),
        ("NaN", PRICE, "'NaN' is no decimal"),
        (Written("1e-99999999999999999999"), PRICE, "more than 5 digits"),
        (Written("0.001"), PRICE, "more than 2 digits after the point"),
        ("HOLD", SIDE, "'HOLD' is not one of BUY, SELL"),
        ("no base64", BYTES, "is not base64"),
        ("/w==", FIXED, "1 bytes, where 2 are needed"),
        ("x", UUID, "is no uuid"),
        ([1], Map(INT), "[1] is no map"),
        ("2300-01-01T00:00:00Z", NANOS, "out of the range of long"),
        (1, Primitive("null"), "1 is no null"),
    ],
)
def test_a_value_that_does_not(value: object, node: Node, reason: str) -> None:
    with pytest.raises(Misfit, match=reason.replace("[", r"\[")):
        conform(value, node)


def test_the_fault_is_located_inside_the_column() -> None:
    line = {
        "type": "record",
        "name": "Line",
        "fields": [
            {"name": "sku", "type": "string"},
            {"name": "n", "type": "int", "default": 1},
        ],
    }
    lines = {"name": "lines", "type": {"type": "array", "items": line}}
    (field,) = avro.parse({"type": "record", "name": "R", "fields": [lines]}).record.fields
    assert conform([{"sku": "a"}], field.node) == [{"sku": "a", "n": 1}]
    for value, path in [
        ([{"sku": "a"}, {"sku": 1}], "[1].sku"),
        ([{"sku": "a", "colour": 1}], "[0].colour"),
        ([{}], "[0].sku"),
    ]:
        with pytest.raises(Misfit) as caught:
            conform(value, field.node)
        assert caught.value.path == path


@pytest.mark.parametrize(
    ("node", "default", "value"),
    [
        (BYTES, "ÿ", b"\xff"),
        (FIXED, "ab", b"ab"),
        (PRICE, "\x01", Decimal("0.01")),
        (PRICE, "ÿ", Decimal("-0.01")),
        (Map(BYTES), {"n": "ÿ"}, {"n": b"\xff"}),
        (maybe(Array(INT)), None, None),
        (Array(maybe(INT)), [1, None], [1, None]),
        (MILLIS, 5, 5),
    ],
)
def test_defaults_are_in_the_form_of_schemas(node: Node, default: object, value: object) -> None:
    assert default_of(Field("f", node, has_default=True, default=default)) == value
    assert conform(value, node) == value


_ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**31) - 1, 2**31),
    st.integers(-(2**63) - 1, 2**63),
    st.floats(),
    st.sampled_from(["BUY", "NaN", "7", "1970-01-01T00:00:00.5Z", "2024-02-30", "1970-01-01"]),
    st.text(st.characters(codec="utf-8"), max_size=3),
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
)
_COLUMNS: list[tuple[Node, pl.DataType]] = [
    (INT, pl.Int32()),
    (LONG, pl.Int64()),
    (FLOAT, pl.Float32()),
    (DOUBLE, pl.Float64()),
    (BOOLEAN, pl.Boolean()),
    (STRING, pl.String()),
    (SIDE, pl.String()),
    (MILLIS, pl.Datetime("ms", "UTC")),
    (MICROS, pl.Datetime("us", "UTC")),
    (DATE, pl.Date()),
]


@pytest.mark.parametrize("nullable", [False, True])
@pytest.mark.parametrize(("node", "dtype"), _COLUMNS, ids=lambda value: str(value)[:60])
@settings(max_examples=50)
@given(data=st.data())
def test_a_column_is_what_its_values_are(
    node: Node, dtype: pl.DataType, nullable: bool, data: st.DataObject
) -> None:
    """The shortcuts for whole columns decide and convert like the reading value by value."""
    assert isinstance(node, Primitive | Enum)
    kinds = data.draw(st.sampled_from([_ANYTHING, *_PLAUSIBLE[node.name]]))
    node = maybe(node) if nullable else node
    values = data.draw(st.lists(kinds, max_size=6))
    expected: list[object] = []
    faults = []
    for at, value in enumerate(values):
        try:
            expected.append(conform(value, node))
        except Misfit:
            expected.append(None)
            faults.append(at)
    found = convert(values, node, dtype)
    assert sorted(found.faults) == faults
    assert found.series.dtype == dtype
    wanted = pl.Series(expected, dtype=dtype)
    assert found.series.equals(wanted, check_names=False, null_equal=True)


_PLAUSIBLE = {
    "int": [st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31) - 2, 2**31 + 2)],
    "long": [
        st.integers(-(2**63), 2**63 - 1),
        st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)).map(
            datetime.isoformat
        ),
    ],
    "float": [st.floats(width=32), st.integers() | st.floats()],
    "double": [st.floats(), st.integers() | st.floats(), st.integers()],
    "boolean": [st.booleans()],
    "string": [st.text(st.characters(codec="utf-8"))],
    "Side": [st.sampled_from(["BUY", "SELL"]), st.sampled_from(["BUY", "HOLD"])],
}


@pytest.mark.parametrize(
    ("column", "node", "dtype", "values"),
    [
        (pl.Series([1, 2], dtype=pl.UInt64), INT, pl.Int32(), [1, 2]),
        (pl.Series([1], dtype=pl.Int8), DOUBLE, pl.Float64(), [1.0]),
        (pl.Series(["a"], dtype=pl.Categorical), STRING, pl.String(), ["a"]),
        (pl.Series([date(1970, 1, 2)]), DATE, pl.Date(), [date(1970, 1, 2)]),
        (
            pl.Series([-1], dtype=pl.Int64).cast(pl.Datetime("us")),
            MILLIS,
            pl.Int64(),
            [-1],
        ),
        (
            pl.Series([1], dtype=pl.Int64).cast(pl.Datetime("ms", "Europe/Berlin")),
            MICROS,
            pl.Int64(),
            [1000],
        ),
        (pl.Series(["1.50"]).cast(pl.Decimal(10, 4)), PRICE, pl.Decimal(5, 2), [Decimal("1.50")]),
        (pl.Series([b"ab"]), FIXED, pl.Binary(), [b"ab"]),
        (pl.Series([[1, 2]]), Array(LONG), pl.List(pl.Int64()), [[1, 2]]),
    ],
)
def test_a_typed_column(
    column: pl.Series, node: Node, dtype: pl.DataType, values: list[object]
) -> None:
    found = convert(column, node, dtype)
    assert not found.faults
    assert found.series.to_list() == values


@pytest.mark.parametrize(
    ("column", "node"),
    [
        (pl.Series([1.0, 2.0]), LONG),
        (pl.Series([1, 2**31]), INT),
        (pl.Series(["1", "2"]), DOUBLE),
        (pl.Series([1, None]), LONG),
        (pl.Series([2**62]).cast(pl.Datetime("ms")), MICROS),
    ],
)
def test_a_typed_column_that_does_not_fit(column: pl.Series, node: Node) -> None:
    assert convert(column, node, pl.Int64()).faults
