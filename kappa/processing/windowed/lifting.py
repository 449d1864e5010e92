"""From a batch of records to what aggregates merge: keys, times and partials, column by column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from kappa.eventtime.watermark import PartitionClock, watermarks
from kappa.processing.admission import EARLIEST_MS, LATEST_MS, Storable, admit, time_refusals
from kappa.processing.aggregates.inputs import one_zero
from kappa.processing.aggregates.kept import Kept
from kappa.processing.aggregates.partials import Refusal
from kappa.processing.events import Events, dead_letters
from kappa.processing.expressions import columns_read
from kappa.processing.guarded import evaluate
from kappa.processing.record_key import foreign_key
from kappa.processing.source import Source

_PARTITION_BITS, _OFFSET_BITS = 22, 56
MOST_PARTITIONS = 1 << _PARTITION_BITS
"""Of a topic, so that a partition fits beside something else in one number."""


def rank(time: pl.Expr) -> pl.Expr:
    """A record's place in time as one Int128: event time, then partition, then offset.

    Good for 2**22 partitions of 2**56 records each.
    """
    moment = (time - EARLIEST_MS).cast(pl.Int128) * (1 << (_PARTITION_BITS + _OFFSET_BITS))
    partition = pl.col("@partition").cast(pl.Int128) * (1 << _OFFSET_BITS)
    return moment + partition + pl.col("@offset")


@dataclass(frozen=True)
class Recipe:
    """What is worked out of each record.

    Attributes:
        time: the event time as ``@event_time``.
        keys, key_types: the columns to group by.
        kept: what aggregates keep of a record.
        refusals: conditions of the aggregates that make a record a dead letter.
        reach: how far from a record its windows may begin or end, ms.
        record_key: the key column that must be the record key, None where any may be grouped.
    """

    source: Source
    time: pl.Expr
    keys: Mapping[str, pl.Expr]
    key_types: Mapping[str, pl.DataType]
    kept: Kept
    refusals: Sequence[Refusal]
    reach: int
    record_key: str | None


@dataclass(frozen=True)
class Lifted:
    """The records of a batch that count.

    Attributes:
        frame: ``@offset``, ``@event_time``, the keys and what aggregates keep.
        watermark: the partition's watermark right after each of them, ms.
        clock: the partition's clock after the batch.
        dead: the records that do not count (DEAD_SCHEMA).
    """

    frame: pl.DataFrame
    watermark: pl.Series
    clock: PartitionClock
    dead: pl.DataFrame


class Lifting:
    """Works a recipe out, batch by batch."""

    def __init__(self, recipe: Recipe, storable: Storable) -> None:
        self._recipe = recipe
        self._storable = storable
        self.reads_keys = recipe.record_key is not None
        self._expressions = [
            pl.col("@offset"),
            pl.col("@timestamp"),
            recipe.time,
            *(
                _normal(expr, recipe.key_types[name]).alias(name)
                for name, expr in recipe.keys.items()
            ),
            *recipe.kept.lifting(),
            *(r.condition.alias(f"@refused{n}") for n, r in enumerate(recipe.refusals)),
        ]
        self._refusals = [
            *time_refusals(recipe.source),
            *(Refusal(pl.col(f"@refused{n}"), r.message) for n, r in enumerate(recipe.refusals)),
        ]
        if recipe.reach:
            time = pl.col("@event_time")
            inside = time.is_between(EARLIEST_MS + recipe.reach, LATEST_MS - recipe.reach)
            self._refusals.append(Refusal(~inside, "its window is not within the years 1-9999"))
        if recipe.record_key is not None:
            self._expressions.append(pl.col("@key"))
            self._refusals.append(foreign_key(recipe.record_key))
        self._stored = [*recipe.keys, *recipe.kept.picked]
        self.reads = columns_read(self._expressions)

    def lift(self, events: Events, clock: PartitionClock) -> Lifted:
        """What the batch's records hold; ``clock`` is their partition's before them."""
        evaluated, failed = evaluate(events.frame, self._expressions)
        admitted, refused = admit(evaluated, self._refusals, self._stored, self._storable)
        time = admitted["@event_time"]
        newest = pl.Series([events.max_record_time], dtype=pl.Int64)
        return Lifted(
            frame=admitted,
            watermark=watermarks(time, clock, self._recipe.source.out_of_orderness_ms),
            clock=clock.advanced(time, newest),
            dead=dead_letters([failed, refused]),
        )


def _normal(key: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A key whose equal values are the same value: -0.0 groups with 0.0."""
    return one_zero(key, dtype)
