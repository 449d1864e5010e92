"""The tables of a keyed processor, and their names."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from kappa import Context, KeyedProcessor, ListState, Source, ValueState
from kappa.errors import DeclarationError, InvalidName, StateSchemaChanged
from kappa.tables import names
from kappa.tables.document import from_document, to_document
from kappa.tables.layout import PARTITION_COLUMN, Kind, Layout, Side
from kappa.versions.keyed_layout import check_state, keyed_layout

SCHEMA = pl.Schema({"account": pl.String(), "amount": pl.Float64()})


class Fraud(KeyedProcessor):
    name, version = "fraud", 2
    source = Source("payments")
    key = "account"
    output = pl.Schema({"account": pl.String(), "tags": pl.List(pl.String())})
    outputs = {"reviews": pl.Schema({"reason": pl.String()})}  # noqa: RUF012
    seen = ValueState(bool)

    def on_event(self, event: Any, ctx: Context) -> None: ...


def layout_of(**changes: object) -> Layout:
    cls: type[KeyedProcessor] = type("Fraud", (Fraud,), changes)
    return keyed_layout(cls().bind(SCHEMA))


def test_rows_and_side_outputs_are_appended_under_the_record_that_caused_them() -> None:
    layout = layout_of()
    assert layout.kind is Kind.APPEND
    assert [(c.name, c.type.name, c.nullable) for c in layout.columns] == [
        ("account", "text", True),
        ("tags", "jsonb", True),
        ("_partition", "integer", False),
        ("_offset", "bigint", False),
        ("_index", "integer", False),
    ]
    assert layout.key == ("_partition", "_offset", "_index")
    assert [column.name for column in layout.view] == ["account", "tags"]
    (side,) = layout.sides
    assert [column.name for column in side.columns] == ["reason", "_partition", "_offset", "_index"]
    assert [column.name for column in side.shown] == ["reason"]
    assert layout.side_table(side) == "fraud__v2__reviews"
    assert layout.side_view_name(side) == "fraud__reviews"
    assert layout.state_table == "fraud__v2__state"
    assert layout.state == "format 1\nseen: value of bool"


def test_a_layout_survives_its_document() -> None:
    layout = layout_of()
    assert from_document(json.loads(json.dumps(to_document(layout)))) == layout


def test_documents_without_sides_and_state_stay_readable() -> None:
    layout = replace(layout_of(), sides=(), state=None)
    document = to_document(layout)
    del document["sides"], document["state"]
    assert from_document(document) == layout
    assert layout.state_table is None


@pytest.mark.parametrize(
    "output",
    [
        "Reviews",
        "re__views",
        "_reviews",
        "late",
        "state",
        "key",
        "new",
        "main",
        "dead_letters",
        "v1",
        "v99999",
        "x" * 44,
    ],
)
def test_names_that_no_output_can_have(output: str) -> None:
    with pytest.raises(InvalidName):
        layout_of(outputs={output: {"reason": pl.String()}})


def test_the_longest_names_fit() -> None:
    name = "x" * 41
    layout = layout_of(name=name, version=99_999, outputs={})
    state = layout.state_table
    assert state is not None
    made = (names.event_timers_name(state), names.processing_timers_name(state))
    assert max(map(len, (*made, names.key_name(state)))) == names.MAX_BYTES
    with pytest.raises(InvalidName, match="longer name than PostgreSQL takes"):
        layout_of(name=name + "x", outputs={})
    output = "y" * (names.MAX_BYTES - len(f"{name}__v99999____key"))
    layout = layout_of(name=name, version=99_999, outputs={output: {"reason": pl.String()}})
    assert len(names.key_name(layout.side_table(layout.sides[0]))) == names.MAX_BYTES
    with pytest.raises(InvalidName, match="longer name than PostgreSQL takes"):
        layout_of(name=name, outputs={output + "y": {"reason": pl.String()}})


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"a": pl.Decimal(38, 2), "b": pl.List(pl.Binary())}, "'b' has type"),
        ({"ctid": pl.String()}, "'ctid' cannot be a column's name"),
    ],
)
def test_columns_that_postgresql_cannot_hold(output: dict[str, pl.DataType], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        layout_of(output=output)
    with pytest.raises(DeclarationError, match=message):
        layout_of(outputs={"reviews": output})


def test_sides_are_told_apart_and_keyed_by_their_place() -> None:
    layout = layout_of()
    with pytest.raises(DeclarationError, match="'reviews' is declared twice"):
        replace(layout, sides=layout.sides * 2)
    with pytest.raises(DeclarationError, match="'odd' is not its partition and offset"):
        replace(layout, sides=(Side("odd", (PARTITION_COLUMN,)),))


def test_other_states_under_one_version_are_refused() -> None:
    check_state(layout_of(), layout_of(seen=ValueState(bool)))
    for changed in (ValueState(int), ListState(bool)):
        with pytest.raises(StateSchemaChanged, match="fraud changed under version 2") as error:
            check_state(layout_of(), layout_of(seen=changed))
        assert "version 3" in error.value.hint
