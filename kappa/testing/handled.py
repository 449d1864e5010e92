"""Keyed processors, tried out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import polars as pl

from kappa.errors import BadRecord
from kappa.eventtime.watermark import PartitionClock
from kappa.processing.admission import anything
from kappa.processing.events import TOMBSTONE_SCHEMA, Events, Fold, Outcome, of_records
from kappa.processing.keyed.declaration import BoundKeyedProcessor, KeyedProcessor
from kappa.processing.keyed.key_codec import KeyCodec
from kappa.processing.keyed.timers import EVENT, PROCESSING
from kappa.processing.source import Source
from kappa.testing.kinds import Passing, Shown, clock_only
from kappa.testing.tables import PLACE, Rows, Tables, appended


class Timer(NamedTuple):
    """A timer that is set: when it is due (ms), whose it is, its name, and its kind of time."""

    at: int
    key: str
    name: str
    kind: str


class Hush:
    """Whether handlers of events do nothing at present."""

    on = False


def _hushable(bound: BoundKeyedProcessor, hush: Hush) -> BoundKeyedProcessor:
    """The processor, but for its ``on_event``, which can be made to do nothing.

    It is made of one that is bound: binding looks at the handlers as they were declared.
    """
    declared: Any = type(bound.declaration)

    class Hushable(declared):  # type: ignore[misc]
        def on_event(self, event: Any, ctx: Any) -> None:
            if not hush.on:
                super().on_event(event, ctx)

    Hushable.__name__ = declared.__name__
    quiet = copy(bound.declaration)
    quiet.__class__ = Hushable
    return replace(bound, declaration=quiet)


@dataclass(frozen=True, eq=False)
class KeyedKind:
    """Rows that handlers emit."""

    bound: BoundKeyedProcessor
    columns: pl.Schema
    hush: Hush

    @staticmethod
    def of(
        processor: KeyedProcessor,
        columns: pl.Schema,
        required: Collection[str],
        record_key: str | None,
    ) -> KeyedKind:
        """Binds the processor.

        Raises:
            DeclarationError: it does not fit the columns.
        """
        hush = Hush()
        bound = processor.bind(columns, required, record_key)
        return KeyedKind(_hushable(bound, hush), columns, hush)

    @property
    def source(self) -> Source:
        return self.bound.declaration.source

    @property
    def record_key(self) -> str | None:
        return self.bound.declaration.key

    def tables(self) -> Tables:
        sides = {name: Rows(appended(PLACE)) for name in self.bound.outputs}
        return Tables(Rows(appended(PLACE)), sides=sides)

    def fold(self, tables: Tables) -> Fold:
        return self.bound.fold(anything, tables)

    def passed(self, fold: Fold, passing: Passing, clock: PartitionClock) -> Outcome:
        """Timers fire at records, so there is one; its handler is told nothing of it.

        Raises:
            BadRecord: the processor does not take the record that was made up.
        """
        if self.source.event_time is not None and passing.after(clock).max_event_time is None:
            return clock_only(fold, self.source, self.columns, passing, clock)
        self.hush.on = True
        try:
            outcome = fold.apply(self._record(passing, clock), clock)
        finally:
            self.hush.on = False
        refused = of_records(outcome.dead)
        if not refused.is_empty():
            raise BadRecord(
                "a record with no values, made up to bring the partition there, is a dead letter",
                partition=passing.partition,
                why=refused["message"][0],
                hint="send a record of another key that the processor takes",
            )
        return outcome

    def final_through(self, clocks: Mapping[int, PartitionClock]) -> int | None:
        return None

    def shown(self, tables: Tables, final_through: int | None) -> Shown:
        return emitted(tables.rows)

    def states(self, tables: Tables) -> dict[str, dict[str, Any]]:
        """What each state of each key holds."""
        codec = KeyCodec(self.bound.states)
        return {
            stored.key: dict(zip(self.bound.states, codec.decode(stored.state)[0], strict=True))
            for stored in tables.state.rows.values()
        }

    def timers(self, tables: Tables) -> list[Timer]:
        """The timers that are set, in the order in which they are due."""
        codec, kinds = KeyCodec(self.bound.states), {EVENT: "event", PROCESSING: "processing"}
        return sorted(
            Timer(at, stored.key, name, kinds[kind])
            for stored in tables.state.rows.values()
            for (kind, name), at in codec.decode(stored.state)[1].items()
            if kind in kinds
        )

    def _record(self, passing: Passing, clock: PartitionClock) -> Events:
        """A record of some key that brings the partition to the moment."""
        reached = passing.after(clock)
        time, timestamp = reached.max_event_time, reached.max_record_time
        if time is not None:
            earliest = time - self.source.max_ahead_ms
            timestamp = earliest if timestamp is None else max(timestamp, earliest)
        key = "" if self.bound.key_type == pl.String else 0
        values = {
            self.bound.declaration.key: pl.Series([key]),
            self.source.event_time: pl.Series([time], dtype=pl.Int64),
        }
        row = [
            _held(values.get(name, _NOTHING), dtype).alias(name)
            for name, dtype in self.columns.items()
        ]
        system = [
            pl.Series("@partition", [passing.partition], dtype=pl.Int32),
            pl.Series("@offset", [passing.offset], dtype=pl.Int64),
            pl.Series("@timestamp", [timestamp], dtype=pl.Int64),
        ]
        frame = pl.DataFrame([*row, *system])
        text = pl.col(self.bound.declaration.key).cast(pl.String).cast(pl.Binary)
        return Events(
            topic=self.source.topic,
            partition=passing.partition,
            frame=frame.with_columns(text.alias("@key")),
            tombstones=TOMBSTONE_SCHEMA.to_frame(),
            max_record_time=timestamp,
        )


_NOTHING = pl.Series([None])


def _held(value: pl.Series, dtype: pl.DataType) -> pl.Series:
    """A value as a column of this type has it; a moment is given in ms.

    Raises:
        BadRecord: the column cannot hold it.
    """
    ms = value.cast(pl.Datetime("ms", dtype.time_zone)) if isinstance(dtype, pl.Datetime) else value
    try:
        return ms.cast(dtype)
    except pl.exceptions.PolarsError as error:
        raise BadRecord(f"a column of type {dtype} cannot hold {value[0]!r}") from error


def emitted(rows: Rows) -> Shown:
    """Emitted rows without the columns that readers do not see, in the order of their records."""
    found = rows.present()
    if found.is_empty():
        return []
    return found.sort(list(PLACE)).drop(PLACE).to_dicts()
