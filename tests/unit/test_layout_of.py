"""From declarations to tables, and tables to documents and back."""

from __future__ import annotations

import json

import polars as pl
import pytest

from kappa import Count, Max, Mean, Projection, Source, Sum, Tumbling, WindowedAggregate
from kappa.tables.document import from_document, to_document
from kappa.versions.layout import Bound, layout_of

SCHEMA = pl.Schema(
    {
        "at": pl.Datetime("us", "UTC"),
        "product": pl.String(),
        "amount": pl.Float64(),
        "price": pl.Decimal(12, 2),
        "quantity": pl.Int32(),
        "tags": pl.List(pl.String()),
    }
)


def windowed() -> Bound:
    return WindowedAggregate(
        name="revenue",
        version=3,
        source=Source("orders", event_time="at"),
        key=["product", pl.col("quantity").alias("size")],
        window=Tumbling("90s"),
        aggregates={
            "orders": Count(),
            "revenue": Sum("amount"),
            "paid": Sum("price"),
            "pieces": Sum("quantity"),
            "mean": Mean("price"),
            "last": Max("at"),
        },
    ).bind(SCHEMA)


def latest() -> Bound:
    return Projection(
        name="products",
        version=1,
        source=Source("orders"),
        columns=["product", "price", "tags"],
        latest_by="product",
    ).bind(SCHEMA)


def append() -> Bound:
    return Projection(
        name="log", version=1, source=Source("orders"), columns=["product", "at"]
    ).bind(SCHEMA)


def test_a_windowed_aggregate_stores_partials_and_shows_what_was_asked_for() -> None:
    layout = layout_of(windowed())
    assert layout.key == ("window_start", "product", "size")
    assert [(c.name, c.type.name) for c in layout.columns] == [
        ("window_start", "timestamp with time zone"),
        ("product", "text"),
        ("size", "integer"),
        ("orders", "bigint"),
        ("revenue__units", "numeric"),
        ("paid__units", "numeric"),
        ("pieces__units", "numeric"),
        ("mean__units", "numeric"),
        ("mean__count", "bigint"),
        ("last", "timestamp with time zone"),
    ]
    assert [c.name for c in layout.view] == [
        "product", "size", "window_start", "window_end",
        "orders", "revenue", "paid", "pieces", "mean", "last",
    ]  # fmt: skip
    assert layout.late is not None
    assert [c.name for c in layout.late] == [
        "_topic", "_partition", "_offset", "_event_time", "_watermark", "_late_by_ms", "_verdict",
        "product", "size",
    ]  # fmt: skip


def test_projections_hide_where_their_rows_come_from() -> None:
    by_key, rows = layout_of(latest()), layout_of(append())
    assert by_key.key == ("product",)
    assert rows.key == ("_partition", "_offset")
    for layout in (by_key, rows):
        assert {"_partition", "_offset"} <= {c.name for c in layout.columns}
        assert not {"_partition", "_offset"} & {c.name for c in layout.view}


@pytest.mark.parametrize("bound", [windowed(), latest(), append()], ids=["windowed", "by", "rows"])
def test_a_layout_survives_its_document(bound: Bound) -> None:
    layout = layout_of(bound)
    assert from_document(json.loads(json.dumps(to_document(layout)))) == layout
