"""Windowed aggregates: a row per key and window, merged from partials."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from kappa.errors import DeclarationError
from kappa.eventtime.durations import Duration, milliseconds
from kappa.eventtime.lateness import overdue
from kappa.eventtime.watermark import PartitionClock, watermarks
from kappa.eventtime.windows import Tumbling
from kappa.processing.admission import Storable, admit, event_time, time_refusals
from kappa.processing.aggregates import Aggregate, Merge, Partial, Refusal, merging, settle
from kappa.processing.events import Events, Outcome, dead_letters
from kappa.processing.expressions import (
    SYSTEM_COLUMNS,
    Column,
    check_column_name,
    columns_read,
    is_required,
    named,
    result_type,
)
from kappa.processing.guarded import evaluate
from kappa.processing.source import Source

INSTANT = pl.Datetime("ms", "UTC")
COMPACT_AT_ROWS = 2_000_000
"""Lifted rows held before they are merged; bounds memory between checkpoints."""


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowedAggregate:
    """Aggregates per key and window of event time.

    Attributes:
        name, version: the processor and its version; a change of logic is a new version.
        source: the topic and its event time.
        key: the columns to group by, by name or as expressions with an alias.
        window: how event time is cut.
        allowed_lateness: how long after its end a window still takes records, measured by
            the watermark of the record's partition. Later ones go to the late table.
        aggregates: the result columns.
    """

    name: str
    version: int
    source: Source
    key: Sequence[Column] | Mapping[str, Column]
    window: Tumbling
    aggregates: Mapping[str, Aggregate]
    allowed_lateness: Duration = "0s"
    allowed_lateness_ms: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "allowed_lateness_ms", milliseconds(self.allowed_lateness))

    def bind(self, schema: pl.Schema, required: Collection[str] = ()) -> BoundWindowedAggregate:
        """The declaration against the source's columns, of which ``required`` are never null.

        Raises:
            DeclarationError: something declared does not fit these columns.
        """
        where = f"{self.name} version {self.version}"
        if not self.aggregates:
            raise DeclarationError(f"{where} declares no aggregates")
        available = pl.Schema({**schema, **SYSTEM_COLUMNS})
        time = event_time(self.source, schema, where=where)
        keys = named(self.key)
        for name in (*keys, *self.aggregates):
            check_column_name(name, where=where)
        key_types = {
            name: result_type(expr, available, where=f"{where}, key {name!r}")
            for name, expr in keys.items()
        }
        clash = {"window_start", "window_end"} & {*keys, *self.aggregates}
        clash |= set(keys) & set(self.aggregates)
        if clash:
            raise DeclarationError(f"{where}: the column {min(clash)!r} would come twice")
        input_types = {
            name: _input_type(aggregate, available, f"{where}, aggregate {name!r}")
            for name, aggregate in self.aggregates.items()
        }
        nullable = frozenset(n for n, e in keys.items() if not is_required(e, required))
        bound = BoundWindowedAggregate(self, time, keys, key_types, nullable, input_types)
        bound.partials()  # an aggregate refuses an input it cannot take here
        return bound


@dataclass(frozen=True, eq=False)
class BoundWindowedAggregate:
    """A windowed aggregate with the types its columns have.

    Attributes:
        key_types: the key columns' types, in order.
        nullable_keys: those of them that may be null.
        input_types: per aggregate the type of its input, None where it takes no column.
    """

    declaration: WindowedAggregate
    time: pl.Expr
    keys: Mapping[str, pl.Expr]
    key_types: Mapping[str, pl.DataType]
    nullable_keys: frozenset[str]
    input_types: Mapping[str, pl.DataType | None]

    def partials(self) -> list[Partial]:
        """All partial columns, in table order."""
        return [
            partial
            for name, aggregate in self.declaration.aggregates.items()
            for partial in aggregate.partials(name, self.input_types[name])
        ]

    def fold(self, storable: Storable) -> WindowFold:
        """A fold that has seen nothing yet."""
        return WindowFold(self, storable)


class WindowFold:
    """Folds batches of any partition into partials per key and window."""

    def __init__(self, bound: BoundWindowedAggregate, storable: Storable) -> None:
        declared = bound.declaration
        self._declared = declared
        self._window = declared.window
        self._key_types = dict(bound.key_types)
        self._keys = list(bound.key_types)
        self._partials = bound.partials()
        self._group = [*self._keys, "@window"]
        self._lifting = [
            pl.col("@offset"),
            pl.col("@timestamp"),
            bound.time,
            *(
                _normal(expr, bound.key_types[name]).alias(name)
                for name, expr in bound.keys.items()
            ),
            *(p.lift.cast(p.dtype).alias(p.column) for p in self._partials),
        ]
        refusals = _input_refusals(bound)
        self._lifting += [r.condition.alias(f"@refused{n}") for n, r in enumerate(refusals)]
        self._refusals = [
            *time_refusals(declared.source),
            *(Refusal(pl.col(f"@refused{n}"), r.message) for n, r in enumerate(refusals)),
        ]
        picked = [p.column for p in self._partials if p.merge is not Merge.SUM]
        self._stored = [*self._keys, *picked]
        self._storable = storable
        inputs = [e for a in declared.aggregates.values() for e in a.reads()]
        self.reads = columns_read([bound.time, *bound.keys.values(), *inputs])
        self.reads_keys = False
        self._pending: list[pl.DataFrame] = []

    @property
    def buffered(self) -> int:
        return sum(len(frame) for frame in self._pending)

    def apply(self, events: Events, clock: PartitionClock) -> Outcome:
        lifted, failed = evaluate(events.frame, self._lifting)
        admitted, refused = admit(lifted, self._refusals, self._stored, self._storable)
        time = admitted["@event_time"]
        watermark = watermarks(time, clock, self._declared.source.out_of_orderness_ms)
        start = self._window.start(time)
        by = overdue(self._window.end(start), watermark, self._declared.allowed_lateness_ms)
        is_late = by >= 0
        placed = admitted.with_columns(start.alias("@window"))
        late = None
        if is_late.any():
            late = self._late_rows(events, placed, watermark, by, is_late)
            placed = placed.filter(~is_late)
        self._hold(placed)
        return Outcome(
            clock=clock.advanced(time, pl.Series([events.max_record_time], dtype=pl.Int64)),
            late=late,
            dead=dead_letters([failed, refused]),
            filtered=len(events.tombstones),
        )

    def flush(self) -> pl.DataFrame:
        self._compact()
        merged = self._pending.pop() if self._pending else None
        if merged is None:
            merged = pl.DataFrame(schema=self._held_schema())
        start = pl.col("@window").cast(INSTANT).alias("window_start")
        stored = settle(merged, self._partials)
        return pl.concat([merged.select(*self._keys, start), stored], how="horizontal")

    def _hold(self, placed: pl.DataFrame) -> None:
        # The usual value is 0 or 1 and the largest possible, or no other sums up to it: see
        # Partial.usual. So the sum tells, and costs next to nothing.
        unusual = [
            p.column
            for p in self._partials
            if not p.internal or placed[p.column].sum() != p.usual * len(placed)
        ]
        self._pending.append(placed.select(*self._group, *unusual))
        if self.buffered > COMPACT_AT_ROWS:
            self._compact()

    def _compact(self) -> None:
        if not self._pending:
            return
        rows = self._aligned()
        merged = [merging(p) for p in self._partials if p.column in rows.columns]
        grouped = rows.lazy().group_by(self._group).agg(merged)
        self._pending = [grouped.collect(engine="streaming")]

    def _aligned(self) -> pl.DataFrame:
        """All held rows as one frame; a column left out of some holds its usual value there."""
        if all(frame.columns == self._pending[0].columns for frame in self._pending):
            return pl.concat(self._pending)
        usual = [pl.col(p.column).fill_null(p.usual) for p in self._partials if p.internal]
        joined = pl.concat(self._pending, how="diagonal")
        return joined.with_columns(e for e in usual if e.meta.output_name() in joined.columns)

    def _held_schema(self) -> pl.Schema:
        lifted = {p.column: p.dtype for p in self._partials}
        return pl.Schema({**self._key_types, "@window": pl.Int64(), **lifted})

    def _late_rows(
        self,
        events: Events,
        placed: pl.DataFrame,
        watermark: pl.Series,
        by: pl.Series,
        is_late: pl.Series,
    ) -> pl.DataFrame:
        return (
            placed.select("@offset", "@event_time", *self._keys)
            .with_columns(watermark.alias("@watermark"), by.alias("@by"))
            .filter(is_late)
            .select(
                pl.lit(events.topic).alias("_topic"),
                pl.lit(events.partition, pl.Int32).alias("_partition"),
                pl.col("@offset").alias("_offset"),
                pl.col("@event_time").cast(INSTANT).alias("_event_time"),
                pl.col("@watermark").cast(INSTANT).alias("_watermark"),
                pl.col("@by").alias("_late_by_ms"),
                *self._keys,
            )
        )


def _input_type(aggregate: Aggregate, available: pl.Schema, where: str) -> pl.DataType | None:
    types = [result_type(expr, available, where=where) for expr in aggregate.reads()]
    return types[0] if types else None


def _input_refusals(bound: BoundWindowedAggregate) -> list[Refusal]:
    return [
        Refusal(refusal.condition, f"{name}: {refusal.message}")
        for name, aggregate in bound.declaration.aggregates.items()
        for refusal in aggregate.refusals(bound.input_types[name])
    ]


def _normal(key: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A key whose equal values are the same value: -0.0 groups with 0.0."""
    return key + 0.0 if dtype.is_float() else key
