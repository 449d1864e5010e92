"""Layouts that could not work are refused where they are declared."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest

from kappa.errors import DeclarationError, InvalidName
from kappa.tables.document import from_document, to_document
from kappa.tables.finalize import Mean, Plain, ScaledDecimal, SquareRoot, Variance
from kappa.tables.layout import Column, Kind, Layout, ViewColumn
from kappa.tables.merge import MergeRule
from kappa.tables.sqltypes import (
    BIGINT,
    JSONB,
    NUMERIC,
    TEXT,
    TIMESTAMP,
    TIMESTAMPTZ,
    numeric,
    sql_type,
)
from tests.integration.tables_scenes import customers, items, revenue


@pytest.mark.parametrize("layout", [revenue("a"), customers("a"), items("a", 7)])
def test_a_layout_survives_its_document(layout: Layout) -> None:
    assert from_document(json.loads(json.dumps(to_document(layout)))) == layout


def test_variances_and_picked_values_survive_their_document() -> None:
    variance = Variance("revenue__units", "revenue__units", "orders", 32, 0, population=True)
    layout = replace(
        revenue("a"),
        columns=(
            *revenue("a").columns,
            Column("city", TEXT, MergeRule.FIRST, order=("orders", "last_customer")),
            Column("town", TEXT, MergeRule.LAST, order=("orders",)),
        ),
        view=(ViewColumn("var", variance), ViewColumn("dev", SquareRoot(variance))),
    )
    assert from_document(json.loads(json.dumps(to_document(layout)))) == layout


def test_a_document_without_orders_is_what_it_always_was() -> None:
    column = to_document(revenue("a"))["columns"][0]
    assert column == {
        "name": "product",
        "type": ["text", None, None],
        "merge": "key",
        "nullable": False,
    }


@pytest.mark.parametrize(
    ("merge", "order"),
    [
        (MergeRule.FIRST, ()),
        (MergeRule.LAST, ("nothing",)),
        (MergeRule.FIRST, ("orders", "nothing")),
        (MergeRule.MIN, ("orders",)),
    ],
)
def test_only_first_and_last_go_by_columns_and_those_exist(
    merge: MergeRule, order: tuple[str, ...]
) -> None:
    layout = revenue("a")
    with pytest.raises(DeclarationError, match="'city' merges as"):
        replace(layout, columns=(*layout.columns, Column("city", TEXT, merge, order=order)))


def test_a_column_twice() -> None:
    layout = revenue("a")
    with pytest.raises(DeclarationError, match="'orders'"):
        replace(layout, columns=(*layout.columns, layout.columns[2]))
    with pytest.raises(DeclarationError, match="'product'"):
        replace(layout, view=(*layout.view, layout.view[0]))


@pytest.mark.parametrize("finalize", [Plain("nothing"), Mean(Plain("orders"), "nothing")])
def test_a_view_column_of_a_column_that_is_not_there(finalize: Plain | Mean) -> None:
    with pytest.raises(DeclarationError, match="'nothing'"):
        replace(revenue("a"), view=(ViewColumn("x", finalize),))


def test_the_key_is_the_columns_that_merge_as_key() -> None:
    with pytest.raises(DeclarationError):
        replace(revenue("a"), key=("product",))
    with pytest.raises(DeclarationError):
        replace(revenue("a"), key=())


def test_kinds_have_the_columns_they_need() -> None:
    with pytest.raises(DeclarationError, match="_offset"):
        replace(customers("a"), columns=customers("a").columns[:-1])
    with pytest.raises(DeclarationError, match="partition and offset"):
        replace(revenue("a"), kind=Kind.APPEND)
    with pytest.raises(DeclarationError):
        replace(customers("a"), kind=Kind.AGGREGATE)
    rows = items("a")
    nullable = tuple(replace(column, nullable=True) for column in rows.columns)
    with pytest.raises(DeclarationError, match="NULL"):
        replace(rows, columns=nullable)


def test_kappas_own_column_cannot_be_declared() -> None:
    deleted = Column("_deleted", BIGINT, MergeRule.SUM)
    with pytest.raises(DeclarationError):
        replace(revenue("a"), columns=(*revenue("a").columns, deleted))


def test_names_are_checked() -> None:
    for bad in ({"processor": "A"}, {"version": 0}):
        with pytest.raises(InvalidName):
            replace(revenue("a"), **bad)


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (pl.Int8(), "smallint"),
        (pl.UInt8(), "smallint"),
        (pl.Int64(), "bigint"),
        (pl.UInt32(), "bigint"),
        (pl.UInt64(), "numeric(20,0)"),
        (pl.Int128(), "numeric"),
        (pl.Float32(), "real"),
        (pl.Float64(), "double precision"),
        (pl.String(), "text"),
        (pl.Enum(["a"]), "text"),
        (pl.Binary(), "bytea"),
        (pl.Boolean(), "boolean"),
        (pl.Decimal(12, 2), "numeric(12,2)"),
        (pl.Date(), "date"),
        (pl.Time(), "time without time zone"),
        (pl.Datetime("ms"), TIMESTAMP.name),
        (pl.Datetime("us", "Europe/Berlin"), TIMESTAMPTZ.name),
        (pl.List(pl.Int64()), "jsonb"),
        (pl.Array(pl.List(pl.Decimal(5, 1)), 2), "jsonb"),
        (pl.Struct({"a": pl.Datetime("ns")}), "jsonb"),
    ],
)
def test_types(dtype: pl.DataType, name: str) -> None:
    assert sql_type(dtype).name == name


@pytest.mark.parametrize(
    "dtype",
    [
        pl.Duration("ms"),
        pl.Datetime("ns"),
        pl.Null(),
        pl.Object(),
        pl.List(pl.Binary()),
        pl.Struct({"a": pl.List(pl.Duration("us"))}),
    ],
)
def test_types_postgresql_has_not(dtype: pl.DataType) -> None:
    with pytest.raises(DeclarationError, match="'amount'") as caught:
        sql_type(dtype, "amount")
    assert caught.value.hint


def test_a_scale_is_part_of_the_type() -> None:
    assert numeric(10, 2) != numeric(10, 3)
    assert ScaledDecimal("a", 2) == ScaledDecimal("a", 2)
    assert NUMERIC != JSONB
