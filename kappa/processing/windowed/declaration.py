"""Windowed aggregates: a row per key and window, merged from partials."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from kappa.errors import DeclarationError
from kappa.eventtime.durations import Duration, milliseconds
from kappa.eventtime.sessions import Session
from kappa.eventtime.windows import Aligned
from kappa.eventtime.zones import DAY_MS
from kappa.processing.admission import Storable, event_time
from kappa.processing.aggregates.declared import Aggregate, SqlMerged
from kappa.processing.aggregates.kept import Kept
from kappa.processing.aggregates.partials import Refusal
from kappa.processing.aggregates.remerge import Remerge
from kappa.processing.aggregates.worker_merged import WorkerMerged, merged_column
from kappa.processing.dead_letter_limit import USUAL, DeadLetterLimit
from kappa.processing.destinations import LATE, MAIN, Destination, check_publish
from kappa.processing.events import Fold
from kappa.processing.expressions import (
    INSTANT,
    SYSTEM_COLUMNS,
    Column,
    is_required,
    named,
    result_type,
)
from kappa.processing.fields import called, check_fields
from kappa.processing.record_key import key_column
from kappa.processing.source import Source
from kappa.processing.store import Store
from kappa.processing.windowed import corrections
from kappa.processing.windowed.checks import (
    FIELDS,
    check_names,
    input_types,
    naming,
    require_aggregate,
)
from kappa.processing.windowed.emission import Emit, check_emit
from kappa.processing.windowed.lifting import Lifting, Recipe, rank
from kappa.processing.windowed.sessionfold import SessionFold
from kappa.processing.windowed.windowfold import WindowFold

Window = Aligned | Session


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowedAggregate:
    """Aggregates per key and window of event time.

    Attributes:
        name, version: the processor and its version; a change of logic is a new version.
        source: the topic and its event time.
        key: the columns to group by, by name or as expressions with an alias; none for one
            row per window.
        window: how event time is cut; None for one row per key over all of time, which no
            record is ever too late for.
        allowed_lateness: how long after its end a window still takes records, measured by
            the watermark of the record's partition. A record that belongs to no window that
            is still open goes to the late table.
        aggregates: the result columns.
        emit: ``"updates"`` shows a row from its first record on, ``"final"`` once every
            partition that has records has passed it. Only a partition that had none until then
            can still change such a row: its records are applied, and counted as corrections.
        idle_after: with ``emit="final"`` on a live stream, how long a partition that has
            nothing to read may hold back the others. A record that it brings later for a
            row already shown is a correction, too; rows tell how many they had. None: such
            a partition holds the others back until it has records again.
        max_dead_letters: how many records may fail before it stops.
        publish: where the outputs ``main`` and ``late`` are sent on to; nowhere if left out.
    """

    name: str
    version: int
    source: Source
    key: Sequence[Column] | Mapping[str, Column]
    window: Window | None
    aggregates: Mapping[str, Aggregate]
    allowed_lateness: Duration = "0s"
    emit: Emit = "updates"
    idle_after: Duration | None = None
    max_dead_letters: DeadLetterLimit = USUAL
    publish: Mapping[str, Destination] = field(default_factory=dict)
    allowed_lateness_ms: int = field(init=False, repr=False)
    idle_after_ms: int | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        lateness = milliseconds(self.allowed_lateness, "allowed_lateness")
        object.__setattr__(self, "allowed_lateness_ms", lateness)
        idle = None if self.idle_after is None else milliseconds(self.idle_after, "idle_after")
        object.__setattr__(self, "idle_after_ms", idle)

    def bind(
        self, schema: pl.Schema, required: Collection[str] = (), record_key: str | None = None
    ) -> BoundWindowedAggregate:
        """The declaration against the source's columns, of which ``required`` are never null.

        ``record_key`` is the column the topic is keyed by, None where that is not known.

        Raises:
            DeclarationError: something declared does not fit these columns.
        """
        self.check_declared()
        where = called(self)
        available = pl.Schema({**schema, **SYSTEM_COLUMNS})
        time = event_time(self.source, schema, where=where)
        keys = named(self.key, where=f"{where}, key")
        check_names(keys, self.aggregates, where=where)
        key_types = {
            name: result_type(expr, available, where=f"{where}, key {name!r}")
            for name, expr in keys.items()
        }
        inputs = {
            name: input_types(aggregate, available, where=f"{where}, aggregate {name!r}")
            for name, aggregate in self.aggregates.items()
        }
        checked = self._record_key(keys, key_types, record_key, where)
        bound = BoundWindowedAggregate(
            self,
            time,
            keys,
            key_types,
            frozenset(n for n, e in keys.items() if n != checked and not is_required(e, required)),
            inputs,
            checked,
        )
        with naming(where):
            _ = bound.kept  # an aggregate refuses an input it cannot take here
        return bound

    def check_declared(self) -> None:
        """Whether all is declared that must be, as far as that shows without the source's columns.

        Raises:
            DeclarationError: something is missing, of another type, or contradicts the rest.
        """
        check_fields(self, FIELDS)
        where = called(self)
        if not self.aggregates:
            raise DeclarationError(
                f"{where} declares no aggregates", hint='write aggregates={"orders": Count()}'
            )
        for name, aggregate in self.aggregates.items():
            require_aggregate(aggregate, where=f"{where}, aggregate {name!r}")
        if not self.key and not isinstance(self.window, Aligned):
            raise DeclarationError(
                f"{where} declares no key", hint="name a column, or use windows of a fixed size"
            )
        check_emit(
            self.emit, self.window, is_idle_declared=self.idle_after is not None, where=where
        )
        check_publish(
            self.publish,
            source=self.source.topic,
            per_record=[] if self.window is None else [LATE],
            merged=[MAIN],
            where=where,
        )

    def _record_key(
        self,
        keys: Mapping[str, pl.Expr],
        types: Mapping[str, pl.DataType],
        record_key: str | None,
        where: str,
    ) -> str | None:
        """The key column that must be the record key; None where any partition may add to a row."""
        by_worker = [n for n, a in self.aggregates.items() if isinstance(a, WorkerMerged)]
        if not isinstance(self.window, Session) and not by_worker:
            return None
        what = f"aggregate {by_worker[0]!r}" if by_worker else "a session"
        if not keys:
            raise DeclarationError(
                f"{where}: {what} is kept per record key, and there is no key",
                hint="name the topic's key column",
            )
        if record_key is None and len(keys) > 1:
            raise DeclarationError(
                f"{where}: {what} is kept per record key, and the topic does not say which of"
                " the key's columns that is",
                hint=f"create {self.source.topic!r} with --key COLUMN",
            )
        if record_key is None:
            (only,) = keys.values()
            record_key = only.meta.undo_aliases().meta.output_name()
        return key_column(
            keys,
            types,
            record_key,
            where=where,
            hint=f"{what} needs all its records in one partition: add {record_key!r} to key",
        )


@dataclass(frozen=True, eq=False)
class BoundWindowedAggregate:
    """A windowed aggregate with the types its columns have.

    Attributes:
        key_types: the key columns' types, in order.
        nullable_keys: those of them that may be null.
        input_types: per aggregate the types of its inputs.
        record_key: the key column that must be the record key, None where none must.
    """

    declaration: WindowedAggregate
    time: pl.Expr
    keys: Mapping[str, pl.Expr]
    key_types: Mapping[str, pl.DataType]
    nullable_keys: frozenset[str]
    input_types: Mapping[str, Sequence[pl.DataType]]
    record_key: str | None

    @property
    def keyed(self) -> bool:
        """Whether it trusts that a key's records lie in one partition."""
        return self.record_key is not None

    @cached_property
    def kept(self) -> Kept:
        """What the aggregates keep, in table order.

        Raises:
            DeclarationError: an aggregate cannot take its inputs.
        """
        place = rank(self.time)
        declared = self.declaration.aggregates
        partials = [
            partial
            for name, aggregate in declared.items()
            if isinstance(aggregate, SqlMerged)
            for partial in aggregate.partials(name, self.input_types[name], place)
        ]
        if self.declaration.emit == "final" and isinstance(self.declaration.window, Aligned):
            partials.append(corrections.COUNTED)  # sessions are counted by their fold
        if self.declaration.idle_after is not None:
            partials.append(corrections.MARK)
        merged = [
            merged_column(name, aggregate, self.input_types[name])
            for name, aggregate in declared.items()
            if isinstance(aggregate, WorkerMerged)
        ]
        return Kept(partials, merged, place)

    @cached_property
    def remerge(self) -> Remerge | None:
        """How rows of one key merge where SQL cannot do it; None where it can."""
        window = self.declaration.window
        if not self.kept.merged or isinstance(window, Session):  # of sessions the newest row wins
            return None
        key = dict(self.key_types)
        if window is not None:
            key["window_start"] = INSTANT
            if window.fixed_size_ms is None:
                key["window_end"] = INSTANT
        return Remerge(key, self.kept)

    def fold(self, storable: Storable, store: Store) -> Fold:
        """A fold that has seen nothing yet."""
        declared = self.declaration
        recipe = Recipe(
            source=declared.source,
            time=self.time,
            keys=self.keys,
            key_types=self.key_types,
            kept=self.kept,
            refusals=self._refusals(),
            reach=_reach(declared.window),
            record_key=self.record_key,
        )
        lifting = Lifting(recipe, storable)
        keys = pl.Schema(self.key_types)
        lateness = declared.allowed_lateness_ms
        if isinstance(declared.window, Session):
            disorder = declared.source.out_of_orderness_ms
            return SessionFold(lifting, declared.window, lateness, disorder, keys, self.kept, store)
        return WindowFold(lifting, declared.window, lateness, keys, self.kept)

    def _refusals(self) -> list[Refusal]:
        return [
            Refusal(refusal.condition, f"{name}: {refusal.message}")
            for name, aggregate in self.declaration.aggregates.items()
            for refusal in aggregate.refusals(self.input_types[name])
        ]


def _reach(window: Window | None) -> int:
    """How far from a record a window it lies in may begin or end, ms; a zone may add a day."""
    if window is None:
        return 0
    if isinstance(window, Session):
        return window.gap_ms
    return window.size_ms + window.hop_ms + (DAY_MS if window.zone else 0)
