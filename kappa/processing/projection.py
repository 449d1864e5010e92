"""Projections: a row per record, or the latest row per key."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from kappa.errors import DeclarationError
from kappa.eventtime.watermark import PartitionClock
from kappa.processing.admission import Storable, admit, event_time, time_refusals
from kappa.processing.aggregates.partials import Refusal
from kappa.processing.dead_letter_limit import USUAL, DeadLetterLimit
from kappa.processing.destinations import MAIN, Destination, check_publish
from kappa.processing.events import Changes, Events, Outcome, dead_letters
from kappa.processing.expressions import (
    SYSTEM_COLUMNS,
    Column,
    check_column_name,
    columns_read,
    named,
    require_condition,
    result_type,
)
from kappa.processing.fields import NO_VALUE, Field, called, check_fields
from kappa.processing.guarded import evaluate
from kappa.processing.record_key import foreign_key, key_column
from kappa.processing.source import Source
from kappa.processing.store import Store

_FIELDS = (
    Field("name", (str,), 'name="customers"'),
    Field("version", (int,), "version=1"),
    Field("source", (Source,), 'source=Source("customers")'),
    Field("columns", (Sequence, Mapping), 'columns=["customer", "city"]'),
    Field("latest_by", (str, NO_VALUE), 'latest_by="customer"'),
    Field("where", (pl.Expr, NO_VALUE), 'where=pl.col("amount") > 0'),
    Field("max_dead_letters", (DeadLetterLimit,), "max_dead_letters=DeadLetterLimit(count=100)"),
    Field("publish", (Mapping,), 'publish={"main": ToTopic("customers_by_city")}'),
)

POSITION = pl.Schema({"_partition": pl.Int32(), "_offset": pl.Int64()})
"""The hidden columns of a projection's table: where in the topic a row comes from."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Projection:
    """A table of expressions over each record.

    Attributes:
        name, version: the processor and its version; a change of logic is a new version.
        source: the topic; its event time may be None.
        columns: the table's columns, by name or as expressions with an alias.
        latest_by: the column that is the topic's record key. Given, the table holds the
            latest row per key, a tombstone deletes the row, and a compacted topic will do;
            None: every record is a row.
        where: which records to take; the others are counted as filtered. A latest-by-key
            projection has none: a filtered update would leave an older row standing.
        max_dead_letters: how many records may fail before it stops.
        publish: where the output ``main`` is sent on to; nowhere if left out.
    """

    name: str
    version: int
    source: Source
    columns: Sequence[Column] | Mapping[str, Column]
    latest_by: str | None = None
    where: pl.Expr | None = None
    max_dead_letters: DeadLetterLimit = USUAL
    publish: Mapping[str, Destination] = field(default_factory=dict)

    def bind(
        self, schema: pl.Schema, required: Collection[str] = (), record_key: str | None = None
    ) -> BoundProjection:
        """The declaration against the source's columns, of which ``required`` are never null.

        ``record_key`` is the column the topic is keyed by, None where that is not known.

        Raises:
            DeclarationError: something declared does not fit these columns.
        """
        self.check_declared()
        where = called(self)
        if self.latest_by is not None and record_key not in (None, self.latest_by):
            raise DeclarationError(
                f"{where} keeps the latest row by {self.latest_by!r}, but the record key of"
                f" {self.source.topic!r} is {record_key!r}",
                hint=f"use latest_by={record_key!r}",
            )
        available = pl.Schema({**schema, **SYSTEM_COLUMNS})
        columns = named(self.columns, where=f"{where}, columns")
        for name in columns:
            check_column_name(name, where=where)
        types = {
            name: result_type(expr, available, where=f"{where}, column {name!r}")
            for name, expr in columns.items()
        }
        time = None
        if self.source.event_time is not None:
            time = event_time(self.source, schema, where=where)
        if self.where is not None:
            require_condition(self.where, available, where=f"{where}, where")
        return BoundProjection(self, time, columns, types, self._key_column(columns, types, where))

    def check_declared(self) -> None:
        """Whether all is declared that must be, as far as that shows without the source's columns.

        Raises:
            DeclarationError: something is missing, of another type, or contradicts the rest.
        """
        check_fields(self, _FIELDS)
        where = called(self)
        if not self.columns:
            raise DeclarationError(
                f"{where} declares no columns", hint='write columns=["customer", "city"]'
            )
        if self.latest_by is not None and self.where is not None:
            raise DeclarationError(
                f"{where}: a latest-by-key projection cannot filter",
                hint="keep the condition as a column and filter when reading",
            )
        plain = self.latest_by is None
        check_publish(
            self.publish,
            source=self.source.topic,
            per_record=[MAIN] if plain else [],
            merged=[] if plain else [MAIN],
            where=where,
        )

    def _key_column(
        self, columns: Mapping[str, pl.Expr], types: Mapping[str, pl.DataType], where: str
    ) -> str | None:
        """The name under which the record key stands in the table."""
        if self.latest_by is None:
            return None
        return key_column(
            columns,
            types,
            self.latest_by,
            where=where,
            hint=f"add {self.latest_by!r} to columns as it is; an alias is fine",
        )


@dataclass(frozen=True, eq=False)
class BoundProjection:
    """A projection with the types its columns have.

    Attributes:
        types: the columns' types, in order.
        key: the table column that holds the record key, None for every record a row.
    """

    declaration: Projection
    time: pl.Expr | None
    columns: Mapping[str, pl.Expr]
    types: Mapping[str, pl.DataType]
    key: str | None

    remerge: None = field(default=None, init=False)
    """Rows of one key are merged by SQL."""

    @property
    def keyed(self) -> bool:
        """Whether it trusts that a key's records lie in one partition."""
        return self.key is not None

    def fold(self, storable: Storable, store: Store) -> ProjectionFold:
        """A fold that has seen nothing yet."""
        return ProjectionFold(self, storable)


class ProjectionFold:
    """Turns batches into rows; of several rows with one key only the last is kept.

    Rows that are sent on as they come have their record's key, ``@key``.
    """

    one_by_one = False

    def __init__(self, bound: BoundProjection, storable: Storable) -> None:
        declared = bound.declaration
        self._bound = bound
        self._names = list(bound.types)
        time = [] if bound.time is None else [bound.time]
        conditions = [] if declared.where is None else [declared.where.alias("@where")]
        self._sends_keys = bound.key is None and MAIN in declared.publish
        self.reads_keys = bound.key is not None or self._sends_keys
        kept = [pl.col("@offset"), pl.col("@timestamp")]
        kept += [pl.col("@key")] if self.reads_keys else []
        columns = [expr.alias(name) for name, expr in bound.columns.items()]
        self._selecting = [*kept, *time, *conditions, *columns]
        self._storable = storable
        self._refusals = [] if bound.time is None else time_refusals(declared.source)
        if bound.key is not None:
            self._refusals.append(foreign_key(bound.key))
        self.reads = columns_read([*time, *conditions, *columns])
        self._pending: list[pl.DataFrame] = []

    @property
    def full(self) -> bool:
        return False

    def apply(self, events: Events, clock: PartitionClock) -> Outcome:
        selected, failed = evaluate(events.frame, self._selecting)
        filtered = 0
        if self._bound.declaration.where is not None:
            kept = selected.filter(pl.col("@where").fill_null(False))
            filtered, selected = len(selected) - len(kept), kept
        admitted, refused = admit(selected, self._refusals, self._names, self._storable)
        rows = self._positioned(admitted, events.partition, deleted=False)
        dead = [failed, refused]
        if self._bound.key is None:
            filtered += len(events.tombstones)
        else:
            deletions, unreadable = self._deletions(events)
            dead.append(unreadable)
            rows = pl.concat([rows, deletions]).sort("_offset")
            rows = rows.unique(self._bound.key, keep="last", maintain_order=True)
        if len(rows):
            self._pending.append(rows)
        time = None if self._bound.time is None else admitted["@event_time"]
        record_time = pl.Series([events.max_record_time], dtype=pl.Int64)
        return Outcome(clock.advanced(time, record_time), dead_letters(dead), filtered)

    def flush(self) -> Changes:
        held, self._pending = self._pending, []
        rows = pl.concat(held) if held else self._schema().to_frame()
        if self._bound.key is not None:
            # One key lies in one partition, so offset order is the order of its updates.
            rows = rows.sort("_offset").unique(self._bound.key, keep="last", maintain_order=True)
        return Changes(rows)

    def settled(self) -> None:
        """Nothing is kept of what was flushed."""

    def _schema(self) -> pl.Schema:
        deleted = {} if self._bound.key is None else {"_deleted": pl.Boolean()}
        key = {"@key": pl.Binary()} if self._sends_keys else {}
        return pl.Schema({**self._bound.types, **POSITION, **deleted, **key})

    def _positioned(self, frame: pl.DataFrame, partition: int, *, deleted: bool) -> pl.DataFrame:
        position = [
            pl.lit(partition, pl.Int32).alias("_partition"),
            pl.col("@offset").alias("_offset"),
        ]
        mark = [] if self._bound.key is None else [pl.lit(deleted).alias("_deleted")]
        key = ["@key"] if self._sends_keys else []
        return frame.select(*self._names, *position, *mark, *key)

    def _deletions(self, events: Events) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Rows that delete their key, and the tombstones whose key is none of the table's."""
        key = self._bound.key
        assert key is not None
        text = _from_text(pl.col("@key").cast(pl.String, strict=False), self._bound.types[key])
        readable, failed = evaluate(events.tombstones, [pl.col("@offset", "@key"), text.alias(key)])
        other = Refusal(foreign_key(key).condition, _UNREADABLE_KEY)
        admitted, refused = admit(readable, [other], [key], self._storable)
        empty = [
            pl.lit(None, dtype).alias(name)
            for name, dtype in self._bound.types.items()
            if name != key
        ]
        dead = pl.concat([_all_unreadable(failed), refused])
        rows = admitted.with_columns(empty)
        return self._positioned(rows, events.partition, deleted=True), dead


_UNREADABLE_KEY = "a tombstone whose key cannot be read"


def _all_unreadable(failed: pl.DataFrame) -> pl.DataFrame:
    """Dead letters of keys that are no UTF-8, worded as those of other unreadable keys."""
    reason = {"error_class": "Refused", "message": _UNREADABLE_KEY}
    return failed.with_columns(pl.lit(text).alias(name) for name, text in reason.items())


def _from_text(text: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.Boolean:
        return pl.when(text == "true").then(True).when(text == "false").then(False)
    return text.cast(dtype, strict=False)
