"""Outputs as other systems read them: schemas, values, keys, positions."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import fastavro
import polars as pl
import pytest

from kappa.runtime.outputs.encoder import OutputEncoder, key_text, key_texts
from kappa.runtime.outputs.schema import value_schema
from kappa.runtime.relay.topic import Position
from kappa.tables.finalize import FixedPoint, Plain, ScaledDecimal, WindowEnd
from kappa.tables.layout import (
    OFFSET_COLUMN,
    PARTITION_COLUMN,
    Column,
    Kind,
    Layout,
    ViewColumn,
)
from kappa.tables.merge import MergeRule
from kappa.tables.publication import Carries, Publication, TopicTarget, WebhookTarget
from kappa.tables.sqltypes import sql_type

AT = datetime(2024, 5, 1, 12, 0, 0, 1_000, tzinfo=UTC)
ROW: dict[str, tuple[pl.DataType, Any, Any]] = {
    "tiny": (pl.Int8(), -3, -3),
    "whole": (pl.UInt32(), 2**32 - 1, 2**32 - 1),
    "big": (pl.UInt64(), 2**64 - 1, Decimal(2**64 - 1)),
    "huge": (pl.Int128(), 2**100, str(2**100)),
    "real": (pl.Float32(), 0.5, 0.5),
    "double": (pl.Float64(), 0.1, 0.1),
    "price": (pl.Decimal(12, 2), Decimal("9.90"), Decimal("9.90")),
    "text": (pl.String(), "é\n", "é\n"),
    "kind": (pl.Enum(["a", "b"]), "b", "b"),
    "flag": (pl.Boolean(), True, True),
    "bytes": (pl.Binary(), b"\x00\xff", b"\x00\xff"),
    "day": (pl.Date(), date(2024, 5, 1), date(2024, 5, 1)),
    "hour": (pl.Time(), time(1, 2, 3, 4), time(1, 2, 3, 4)),
    "at": (pl.Datetime("ms", "UTC"), AT, AT),
    "listed": (pl.List(pl.Int64()), [1, 2], "[1,2]"),
}


def layout() -> Layout:
    columns = tuple(
        Column(name, sql_type(dtype, name), MergeRule.FIXED) for name, (dtype, _, _) in ROW.items()
    )
    return Layout(
        processor="things",
        version=1,
        kind=Kind.APPEND,
        columns=(*columns, PARTITION_COLUMN, OFFSET_COLUMN),
        key=("_partition", "_offset"),
        view=tuple(ViewColumn(column.name, Plain(column.name)) for column in columns),
    )


def frame(*, empty: bool = False) -> pl.DataFrame:
    values = {name: [None if empty else value] for name, (_, value, _) in ROW.items()}
    return pl.DataFrame(values, schema={name: dtype for name, (dtype, _, _) in ROW.items()})


def decoded(value: bytes, schema: str) -> Any:
    return fastavro.schemaless_reader(
        io.BytesIO(value[5:]), fastavro.parse_schema(json.loads(schema))
    )


def test_every_type_of_column_reaches_readers_of_the_topic() -> None:
    sent = Publication("main", Carries.RECORDS, "exactly_once", TopicTarget("t", 1, 7))
    (value,) = OutputEncoder(layout(), sent).encode(frame())
    assert value[:5] == b"\x00\x00\x00\x00\x07"
    schema = value_schema(layout(), "main").text
    assert decoded(value, schema) == {name: wanted for name, (_, _, wanted) in ROW.items()}
    (nothing,) = OutputEncoder(layout(), sent).encode(frame(empty=True))
    assert set(decoded(nothing, schema).values()) == {None}


def test_every_type_of_column_has_a_form_in_json() -> None:
    sent = Publication("main", Carries.RECORDS, "at_least_once", WebhookTarget("http://x", 1, 1))
    (value,) = OutputEncoder(layout(), sent).encode(frame())
    body = json.loads(value)
    assert body["price"] == "9.90"
    assert body["bytes"] == "\\x00ff"
    assert body["at"] == "2024-05-01T12:00:00.001000+00:00"
    assert body["day"] == "2024-05-01"
    assert body["huge"] == str(2**100)
    assert body["listed"] == "[1,2]"
    assert body.keys() == ROW.keys()


def test_the_schema_of_merged_rows_is_that_of_their_view() -> None:
    window = Column("window_start", sql_type(pl.Datetime("ms", "UTC")), MergeRule.KEY, False)
    total = Column("total", sql_type(pl.Int128()), MergeRule.SUM)
    merged = Layout(
        processor="totals",
        version=1,
        kind=Kind.AGGREGATE,
        columns=(window, total),
        key=("window_start",),
        view=(
            ViewColumn("window_start", Plain("window_start")),
            ViewColumn("window_end", WindowEnd("window_start", 60_000)),
            ViewColumn("sum", FixedPoint("total")),
            ViewColumn("price", ScaledDecimal("total", 2)),
        ),
    )
    fields = json.loads(value_schema(merged, "main").text)["fields"]
    moment = {"type": "long", "logicalType": "timestamp-micros"}
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2}
    assert [field["type"] for field in fields] == [
        moment,
        moment,
        ["null", "double"],
        ["null", decimal],
    ]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ('{"customer": "ann"}', "ann"),
        ('{"number": 12345678901234567890}', "12345678901234567890"),
        ('{"flag": true}', "true"),
        ('{"customer": null}', '{"customer": null}'),
        ('{"a": "x", "b": 1}', '{"a": "x", "b": 1}'),
    ],
)
def test_a_key_of_one_column_is_its_text(key: str, text: str) -> None:
    assert key_text(key) == text.encode()


def test_keys_of_late_records_have_the_same_form() -> None:
    rows = pl.DataFrame({"a": ["x"], "n": [5], "at": [AT]})
    assert key_texts(rows, ["a"]) == [b"x"]
    assert key_texts(rows, ["n"]) == [b"5"]
    assert key_texts(rows, []) == [None]
    (both,) = key_texts(rows, ["a", "at"])
    assert json.loads(both or b"") == {"a": "x", "at": "2024-05-01T12:00:00.001000+00:00"}


def test_a_position_survives_its_document() -> None:
    position = Position({("topic-id", 0): (7, 2), ("topic-id", 1): (2**40, 0)}, 12)
    assert Position.of(position.document()) == position
    assert Position.of(None) == Position()
