"""From a bound declaration to the tables and the view of its version."""

from __future__ import annotations

import polars as pl

from kappa.processing.aggregates import Aggregate, Mean, Merge, Partial, Sum
from kappa.processing.projection import BoundProjection
from kappa.processing.windowed import BoundWindowedAggregate
from kappa.tables import finalize
from kappa.tables.layout import (
    LATEST_OFFSET_COLUMN,
    OFFSET_COLUMN,
    PARTITION_COLUMN,
    Column,
    Kind,
    Layout,
    ViewColumn,
)
from kappa.tables.merge import MergeRule
from kappa.tables.sqltypes import BIGINT, INTEGER, NUMERIC, TEXT, TIMESTAMPTZ, sql_type

Bound = BoundWindowedAggregate | BoundProjection

_RULES = {Merge.SUM: MergeRule.SUM, Merge.MIN: MergeRule.MIN, Merge.MAX: MergeRule.MAX}


def layout_of(bound: Bound) -> Layout:
    """The tables of one version.

    Raises:
        DeclarationError: a name or a column's type is not possible in PostgreSQL.
    """
    if isinstance(bound, BoundWindowedAggregate):
        return _windowed(bound)
    return _projected(bound)


def _windowed(bound: BoundWindowedAggregate) -> Layout:
    declared = bound.declaration
    keys = [
        Column(name, sql_type(dtype, name), MergeRule.KEY, nullable=name in bound.nullable_keys)
        for name, dtype in bound.key_types.items()
    ]
    start = Column("window_start", TIMESTAMPTZ, MergeRule.KEY, nullable=False)
    partials = [_partial(p) for p in bound.partials() if not p.internal]
    shown = [ViewColumn(c.name, finalize.Plain(c.name)) for c in (*keys, start)]
    shown.append(
        ViewColumn("window_end", finalize.WindowEnd("window_start", declared.window.size_ms))
    )
    shown += [
        ViewColumn(name, _finalized(name, aggregate, bound.input_types[name]))
        for name, aggregate in declared.aggregates.items()
    ]
    late = [
        Column("_topic", TEXT, MergeRule.KEY, nullable=False),
        PARTITION_COLUMN,
        OFFSET_COLUMN,
        Column("_event_time", TIMESTAMPTZ, MergeRule.FIXED, nullable=False),
        Column("_watermark", TIMESTAMPTZ, MergeRule.FIXED, nullable=False),
        Column("_late_by_ms", BIGINT, MergeRule.FIXED, nullable=False),
        *(Column(key.name, key.type, MergeRule.FIXED, nullable=key.nullable) for key in keys),
    ]
    return Layout(
        processor=declared.name,
        version=declared.version,
        kind=Kind.AGGREGATE,
        # Time first: what is written at one time lies together, in a build as well as live.
        columns=(start, *keys, *partials),
        key=(start.name, *(key.name for key in keys)),
        view=tuple(shown),
        late=tuple(late),
    )


def _projected(bound: BoundProjection) -> Layout:
    declared = bound.declaration
    latest = bound.key is not None
    rule = MergeRule.LATEST if latest else MergeRule.FIXED
    columns = [
        Column(name, sql_type(dtype, name), MergeRule.KEY, nullable=False)
        if name == bound.key
        else Column(name, sql_type(dtype, name), rule)
        for name, dtype in bound.types.items()
    ]
    partition = Column("_partition", INTEGER, MergeRule.LATEST, nullable=False)
    position = (partition, LATEST_OFFSET_COLUMN) if latest else (PARTITION_COLUMN, OFFSET_COLUMN)
    return Layout(
        processor=declared.name,
        version=declared.version,
        kind=Kind.LATEST if latest else Kind.APPEND,
        columns=(*columns, *position),
        key=(bound.key,) if bound.key is not None else ("_partition", "_offset"),
        view=tuple(ViewColumn(c.name, finalize.Plain(c.name)) for c in columns),
    )


def _partial(partial: Partial) -> Column:
    units = partial.column.endswith("__units")
    kind = NUMERIC if units else sql_type(partial.dtype, partial.column)
    return Column(partial.column, kind, _RULES[partial.merge])


def _finalized(name: str, aggregate: Aggregate, dtype: pl.DataType | None) -> finalize.Finalize:
    if isinstance(aggregate, Sum):
        return _total(name, dtype)
    if isinstance(aggregate, Mean):
        return finalize.Mean(_total(name, dtype), f"{name}__count")
    return finalize.Plain(name)


def _total(name: str, dtype: pl.DataType | None) -> finalize.Finalize:
    units = f"{name}__units"
    if isinstance(dtype, pl.Decimal):
        return finalize.ScaledDecimal(units, dtype.scale)
    if dtype is not None and dtype.is_float():
        return finalize.FixedPoint(units)
    return finalize.Plain(units)
