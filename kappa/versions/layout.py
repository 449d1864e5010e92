"""From a bound declaration to the tables and the view of its version."""

from __future__ import annotations

from dataclasses import replace

from kappa.eventtime.sessions import Session
from kappa.eventtime.windows import Aligned
from kappa.processing.aggregates.declared import SqlMerged
from kappa.processing.keyed.declaration import BoundKeyedProcessor
from kappa.processing.projection import BoundProjection
from kappa.processing.windowed.declaration import BoundWindowedAggregate, WindowedAggregate
from kappa.processing.windowed.sessionfold import FOUNDER
from kappa.tables import finalize
from kappa.tables.finality import Finality
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
from kappa.tables.publication import Carries
from kappa.tables.sqltypes import BIGINT, BYTEA, INTEGER, TEXT, TIMESTAMPTZ, sql_type
from kappa.versions.finalized import finalized, stored_column
from kappa.versions.keyed_layout import keyed_layout
from kappa.versions.publications import publications

Bound = BoundWindowedAggregate | BoundProjection | BoundKeyedProcessor

_START = Column("window_start", TIMESTAMPTZ, MergeRule.KEY, nullable=False)
_FOUNDER = Column(FOUNDER, BIGINT, MergeRule.KEY, nullable=False)
_LATEST_PARTITION = Column("_partition", INTEGER, MergeRule.LATEST, nullable=False)


def layout_of(bound: Bound) -> Layout:
    """The tables of one version.

    Raises:
        DeclarationError: a name or a column's type is not possible in PostgreSQL.
    """
    if isinstance(bound, BoundKeyedProcessor):
        return keyed_layout(bound)
    if isinstance(bound, BoundProjection):
        return _projected(bound)
    window = bound.declaration.window
    return _sessions(bound) if isinstance(window, Session) else _windowed(bound, window)


def _windowed(bound: BoundWindowedAggregate, window: Aligned | None) -> Layout:
    declared = bound.declaration
    keys = _keys(bound)
    # Time first: what is written at one time lies together, in a build as well as live.
    key = keys if window is None else (_START, *keys)
    columns = list(key)
    shown = [ViewColumn(c.name, finalize.Plain(c.name)) for c in keys]
    if window is not None:
        shown.append(ViewColumn("window_start", finalize.Plain("window_start")))
    if window is not None and window.fixed_size_ms is not None:
        end = finalize.WindowEnd("window_start", window.fixed_size_ms)
        shown.append(ViewColumn("window_end", end))
    elif window is not None:
        columns.append(Column("window_end", TIMESTAMPTZ, MergeRule.FIXED, nullable=False))
        shown.append(ViewColumn("window_end", finalize.Plain("window_end")))
    return Layout(
        processor=declared.name,
        version=declared.version,
        kind=Kind.AGGREGATE,
        columns=(*columns, *_partials(bound)),
        key=tuple(column.name for column in key),
        view=(*shown, *_aggregates(bound)),
        late=None if window is None else _late(keys),
        finality=None if window is None else _finality(declared),
        publishes=publications(declared.publish, _carries(declared)),
    )


def _sessions(bound: BoundWindowedAggregate) -> Layout:
    """Sessions grow and are joined, so a row is replaced whole, by the newest."""
    declared = bound.declaration
    keys = _keys(bound)
    end = Column("window_end", TIMESTAMPTZ, MergeRule.LATEST, nullable=False)
    return Layout(
        processor=declared.name,
        version=declared.version,
        kind=Kind.LATEST,
        columns=(
            _START,
            *keys,
            PARTITION_COLUMN,
            _FOUNDER,
            end,
            *(replace(column, merge=MergeRule.LATEST, order=()) for column in _partials(bound)),
            LATEST_OFFSET_COLUMN,
        ),
        key=(_START.name, *(key.name for key in keys), PARTITION_COLUMN.name, _FOUNDER.name),
        view=(
            *(ViewColumn(c.name, finalize.Plain(c.name)) for c in (*keys, _START, end)),
            *_aggregates(bound),
        ),
        late=_late(keys),
        finality=_finality(declared),
        publishes=publications(declared.publish, _carries(declared)),
    )


def _carries(declared: WindowedAggregate) -> Carries:
    return Carries.FINAL if declared.emit == "final" else Carries.UPDATES


def _finality(declared: WindowedAggregate) -> Finality:
    return Finality(
        delay_ms=declared.source.out_of_orderness_ms + declared.allowed_lateness_ms,
        hides=declared.emit == "final",
        idle_after_ms=declared.idle_after_ms,
    )


def _keys(bound: BoundWindowedAggregate) -> tuple[Column, ...]:
    return tuple(
        Column(name, sql_type(dtype, name), MergeRule.KEY, nullable=name in bound.nullable_keys)
        for name, dtype in bound.key_types.items()
    )


def _partials(bound: BoundWindowedAggregate) -> list[Column]:
    kept = bound.kept
    columns = [stored_column(partial) for partial in kept.partials if not partial.internal]
    for merged in kept.merged:
        result = sql_type(merged.merger.result, merged.name)
        columns.append(Column(merged.partial, BYTEA, MergeRule.REPLACED))
        columns.append(Column(merged.name, result, MergeRule.REPLACED))
    return columns


def _aggregates(bound: BoundWindowedAggregate) -> list[ViewColumn]:
    return [
        ViewColumn(
            name,
            finalized(aggregate.shown(name, bound.input_types[name]))
            if isinstance(aggregate, SqlMerged)
            else finalize.Plain(name),
        )
        for name, aggregate in bound.declaration.aggregates.items()
    ]


def _late(keys: tuple[Column, ...]) -> tuple[Column, ...]:
    return (
        Column("_topic", TEXT, MergeRule.KEY, nullable=False),
        PARTITION_COLUMN,
        OFFSET_COLUMN,
        Column("_event_time", TIMESTAMPTZ, MergeRule.FIXED, nullable=False),
        Column("_watermark", TIMESTAMPTZ, MergeRule.FIXED, nullable=False),
        Column("_late_by_ms", BIGINT, MergeRule.FIXED, nullable=False),
        Column("_verdict", TEXT, MergeRule.FIXED, nullable=False),
        *(Column(key.name, key.type, MergeRule.FIXED, nullable=key.nullable) for key in keys),
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
    position = (
        (_LATEST_PARTITION, LATEST_OFFSET_COLUMN) if latest else (PARTITION_COLUMN, OFFSET_COLUMN)
    )
    return Layout(
        processor=declared.name,
        version=declared.version,
        kind=Kind.LATEST if latest else Kind.APPEND,
        columns=(*columns, *position),
        key=(bound.key,) if bound.key is not None else ("_partition", "_offset"),
        view=tuple(ViewColumn(c.name, finalize.Plain(c.name)) for c in columns),
        publishes=publications(declared.publish, Carries.UPDATES if latest else Carries.RECORDS),
    )
