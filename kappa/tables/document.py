"""A layout as a JSON document, kept with its version.

A version must be promoted, rolled back to and dropped even where its plugin is no longer
installed, so its row holds all that its tables and its view were made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kappa.tables.finality import Finality
from kappa.tables.finalize import (
    Finalize,
    FixedPoint,
    Mean,
    Plain,
    ScaledDecimal,
    SquareRoot,
    Variance,
    WindowEnd,
)
from kappa.tables.layout import Column, Kind, Layout, Side, ViewColumn
from kappa.tables.merge import MergeRule
from kappa.tables.publication import Carries, Publication, TopicTarget, WebhookTarget
from kappa.tables.sqltypes import SqlType

FORMAT = 1
"""Raised when the document changes its shape; documents of older formats stay readable."""


def to_document(layout: Layout) -> dict[str, Any]:
    """The layout in JSON's own types."""
    return {
        "format": FORMAT,
        "processor": layout.processor,
        "version": layout.version,
        "kind": layout.kind.value,
        "columns": [_column(column) for column in layout.columns],
        "key": list(layout.key),
        "view": [{"name": c.name, "finalize": _finalize(c.finalize)} for c in layout.view],
        "late": None if layout.late is None else [_column(column) for column in layout.late],
        "finality": None if layout.finality is None else asdict(layout.finality),
        "sides": [
            {"name": side.name, "columns": [_column(column) for column in side.columns]}
            for side in layout.sides
        ],
        "state": layout.state,
        "publishes": [_publication(sent) for sent in layout.publishes],
    }


def from_document(document: Mapping[str, Any]) -> Layout:
    """The layout that ``to_document`` wrote."""
    late, finality = document["late"], document.get("finality")
    return Layout(
        processor=document["processor"],
        version=document["version"],
        kind=Kind(document["kind"]),
        columns=tuple(map(_read_column, document["columns"])),
        key=tuple(document["key"]),
        view=tuple(
            ViewColumn(shown["name"], _read_finalize(shown["finalize"]))
            for shown in document["view"]
        ),
        late=None if late is None else tuple(map(_read_column, late)),
        finality=None if finality is None else Finality(**finality),
        sides=tuple(
            Side(side["name"], tuple(map(_read_column, side["columns"])))
            for side in document.get("sides", ())
        ),
        state=document.get("state"),
        publishes=tuple(map(_read_publication, document.get("publishes", ()))),
    )


def _publication(sent: Publication) -> dict[str, Any]:
    kind = "topic" if isinstance(sent.target, TopicTarget) else "webhook"
    return {
        "output": sent.output,
        "carries": sent.carries.value,
        "guarantee": sent.guarantee,
        "to": {kind: asdict(sent.target)},
    }


def _read_publication(document: Mapping[str, Any]) -> Publication:
    to = document["to"]
    target = TopicTarget(**to["topic"]) if "topic" in to else WebhookTarget(**to["webhook"])
    return Publication(
        document["output"], Carries(document["carries"]), document["guarantee"], target
    )


def _column(column: Column) -> dict[str, Any]:
    order = {"order": list(column.order)} if column.order else {}
    return {
        "name": column.name,
        "type": [column.type.name, column.type.precision, column.type.scale],
        "merge": column.merge.value,
        "nullable": column.nullable,
        **order,
    }


def _read_column(document: Mapping[str, Any]) -> Column:
    return Column(
        document["name"],
        SqlType(*document["type"]),
        MergeRule(document["merge"]),
        document["nullable"],
        tuple(document.get("order", ())),
    )


def _finalize(finalize: Finalize) -> dict[str, Any]:
    match finalize:
        case Plain(column):
            return {"by": "plain", "column": column}
        case FixedPoint(units):
            return {"by": "fixed_point", "units": units}
        case ScaledDecimal(units, scale):
            return {"by": "scaled_decimal", "units": units, "scale": scale}
        case Mean(total, count):
            return {"by": "mean", "total": _finalize(total), "count": count}
        case Variance():
            return {"by": "variance", **asdict(finalize)}
        case SquareRoot(of):
            return {"by": "square_root", "of": _finalize(of)}
        case WindowEnd(start, size_ms):
            return {"by": "window_end", "start": start, "size_ms": size_ms}
    raise AssertionError(f"{finalize!r} has no document")


def _read_finalize(document: Mapping[str, Any]) -> Finalize:
    match document["by"]:
        case "plain":
            return Plain(document["column"])
        case "fixed_point":
            return FixedPoint(document["units"])
        case "scaled_decimal":
            return ScaledDecimal(document["units"], document["scale"])
        case "mean":
            return Mean(_read_finalize(document["total"]), document["count"])
        case "variance":
            return _read_variance(document)
        case "square_root":
            return SquareRoot(_read_variance(document["of"]))
        case "window_end":
            return WindowEnd(document["start"], document["size_ms"])
    raise AssertionError(f"a view column finalized by {document['by']!r}")


def _read_variance(document: Mapping[str, Any]) -> Variance:
    return Variance(**{name: value for name, value in document.items() if name != "by"})
