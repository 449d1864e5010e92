"""One partition on its way through a worker: from raw batches to what its checkpoint says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from kappa.avro.decode import BatchDecoder, Decoded
from kappa.errors import (
    BrokerUnavailable,
    IncompatibleSchema,
    InvalidSchema,
    RegistryUnavailable,
    UnknownSchema,
)
from kappa.eventtime.watermark import PartitionClock
from kappa.failpoints import reach
from kappa.log.records import RawBatch, TopicPartition
from kappa.processing.events import (
    NO_TOMBSTONES,
    TOMBSTONE_SCHEMA,
    Events,
    Fold,
    Outcome,
    of_records,
)
from kappa.runtime.worker.budget import DeadLetterBudget
from kappa.runtime.worker.copies import Copies, Stretch
from kappa.runtime.worker.letters import Letters
from kappa.tables import dead_letters
from kappa.tables.dead_letters import Retried
from kappa.tables.progress import Advance, Claimed

KeysAt = Callable[[Collection[int]], dict[int, bytes | None]]
"""Finds record keys by offset, in the partition of the batch."""

_NO_LETTERS = pl.DataFrame(schema=dead_letters.FRAME_SCHEMA)


@dataclass
class Tally:
    """What was folded since the last checkpoint."""

    records: int = 0
    dead: int = 0
    filtered: int = 0
    size_bytes: int = 0
    schema_ids: set[int] = field(default_factory=set)


class PartitionRun:
    """A claimed partition: its clock, its position, and what its next checkpoint will say."""

    def __init__(self, claimed: Claimed, target: int | None, letters: Letters) -> None:
        self.place = TopicPartition(claimed.topic, claimed.partition)
        self.topic_id = claimed.topic_id
        self.target = target
        self.position = claimed.next_offset
        self.clock = PartitionClock(claimed.max_event_time, claimed.max_record_time)
        self.waiting: RawBatch | None = None
        self.lacks: UnknownSchema | None = None
        """Why the last batch was not folded to its end: a record's schema is not there."""
        self.served = 0
        """When it last had its turn, as its worker counts them."""
        self.epoch = claimed.epoch
        self._committed = claimed.next_offset
        self._tally = Tally()
        start = claimed.next_offset
        self._copies = Copies(self.place, self.topic_id, start, letters)
        self._budget = DeadLetterBudget(self.place, start, claimed.records, letters)

    @property
    def finished(self) -> bool:
        return self.target is not None and self.position >= self.target

    @property
    def settled(self) -> bool:
        """Whether nothing was read since the last checkpoint."""
        return self.position == self._committed

    @property
    def behind(self) -> tuple[int, int]:
        """Sorts partitions by event time reached, so that they are read in step."""
        time = self.clock.max_event_time
        return (time if time is not None else -(1 << 63), self.place.partition)

    def fold(
        self, raw: RawBatch, decoder: BatchDecoder, fold: Fold, keys_at: KeysAt
    ) -> pl.DataFrame:
        """Folds one raw batch in; returns its dead letters, ready for their table.

        Where the schema of a record is not registered, ``position`` comes to stand there, and
        ``lacks`` says so. ``keys_at`` finds the record keys of dead letters where the batch came
        without keys.

        Raises:
            TooManyDeadLetters: there are more than the processor goes on with.
            SchemaError: a record's schema is there and cannot be read as the reader's.
        """
        waited, self.lacks = self.lacks, None
        found: list[pl.DataFrame] = []
        left = raw
        while True:
            try:
                for stretch in self._copies.stretches(left):
                    found.append(self._fold(stretch, decoder, fold, keys_at, waited))
                break
            except UnknownSchema as error:
                self.lacks = error
                at = error.detail["offset"]
                assert isinstance(at, int)
                left = _between(raw, self.position, at)
                if not len(left):
                    break
        return found[0] if len(found) == 1 else pl.concat([_NO_LETTERS, *found])

    def _fold(
        self,
        stretch: Stretch,
        decoder: BatchDecoder,
        fold: Fold,
        keys_at: KeysAt,
        waited: UnknownSchema | None,
    ) -> pl.DataFrame:
        """Folds one stretch of a batch in, whole or (where it cannot be decoded) not at all."""
        decoded = _decode(stretch.raw, decoder, waited)
        dead = self._apply(stretch, decoded, fold, keys_at)
        failed = of_records(dead)["offset"].to_list()
        applied = self._copies.folded(stretch, failed)
        self._budget.spend(stretch.offsets, dead, applied)
        self.position = stretch.raw.next_offset
        self._tally.records += len(stretch.offsets)
        self._tally.dead += len(failed)
        self._tally.filtered += stretch.filtered
        self._tally.size_bytes += stretch.raw.size_bytes
        return dead

    def _apply(
        self, stretch: Stretch, decoded: Decoded, fold: Fold, keys_at: KeysAt
    ) -> pl.DataFrame:
        """Folds one stretch of a batch in; returns its dead letters."""
        raw = stretch.raw
        reach("decoded")
        outcome = fold.apply(_events(raw, decoded, with_keys=fold.reads_keys), self.clock)
        self.clock = outcome.clock
        self._tally.filtered += outcome.filtered
        self._tally.schema_ids |= decoded.schema_ids
        keys = None if fold.reads_keys else keys_at
        return _letters(raw, decoded, outcome, keys, stretch.originals)

    def checkpoint(self, late: int) -> tuple[Advance, int] | None:
        """The step since the last checkpoint and its bytes; None where there was none.

        ``late`` is how many of its records have turned out to be late.
        """
        if self.settled:
            return None
        tally, self._tally = self._tally, Tally()
        advance = Advance(
            topic=self.place.topic,
            partition=self.place.partition,
            epoch=self.epoch,
            old_offset=self._committed,
            new_offset=self.position,
            max_event_time=self.clock.max_event_time,
            max_record_time=self.clock.max_record_time,
            records=tally.records,
            late=late,
            dead=tally.dead,
            filtered=tally.filtered,
            schema_ids=frozenset(tally.schema_ids),
        )
        self._committed = self.position
        return advance, tally.size_bytes

    def take_applied(self) -> list[Retried]:
        """The copies that were applied since the last time; they go with the checkpoint."""
        return self._copies.take_applied()


def _between(raw: RawBatch, begin: int, end: int) -> RawBatch:
    """The records of the batch from ``begin`` on that lie before the offset ``end``."""
    before, _ = raw.cut(int(np.searchsorted(raw.offsets, end)))
    done = int(np.searchsorted(before.offsets, begin))
    return before if not done else before.cut(done)[1] or before.cut(0)[0]


def _decode(raw: RawBatch, decoder: BatchDecoder, waited: UnknownSchema | None) -> Decoded:
    """The batch decoded; an error about a schema says which record was first to need it.

    Where its first record has ``waited`` for its schema it goes on waiting while the registry
    cannot be read: nothing else of the worker need wait with it.
    """
    try:
        return decoder.decode(raw.values)
    except (BrokerUnavailable, RegistryUnavailable):
        if waited is None:
            raise
        raise waited from None
    except (UnknownSchema, IncompatibleSchema, InvalidSchema) as error:
        low, high = 0, len(raw.values)
        while high - low > 1:
            middle = (low + high) // 2
            try:
                decoder.decode(raw.values[low:middle])
                low = middle
            except type(error):
                high = middle
        where = {"topic": raw.topic, "partition": raw.partition, "offset": int(raw.offsets[low])}
        error.detail = where | error.detail
        raise


def _events(raw: RawBatch, decoded: Decoded, *, with_keys: bool) -> Events:
    positions = decoded.positions
    offsets = raw.offsets if positions is None else raw.offsets[positions]
    timestamps = raw.timestamps if positions is None else raw.timestamps[positions]
    system = [
        pl.Series("@offset", offsets),
        pl.Series("@timestamp", timestamps),
        pl.lit(raw.partition, pl.Int32).alias("@partition"),
    ]
    if with_keys:
        keys = raw.key_column if positions is None else raw.key_column[positions]
        system.append(keys.alias("@key"))
    return Events(
        topic=raw.topic,
        partition=raw.partition,
        frame=decoded.frame.with_columns(system),
        tombstones=_tombstones(raw, decoded, with_keys=with_keys),
        max_record_time=int(raw.timestamps.max()) if len(raw.timestamps) else None,
    )


def _tombstones(raw: RawBatch, decoded: Decoded, *, with_keys: bool) -> pl.DataFrame:
    at = decoded.tombstones
    if not len(at):
        return NO_TOMBSTONES
    return pl.DataFrame(
        {
            "@offset": raw.offsets[at],
            "@timestamp": raw.timestamps[at],
            "@key": raw.key_column[at] if with_keys else None,
        },
        schema=TOMBSTONE_SCHEMA,
    )


def _letters(
    raw: RawBatch,
    decoded: Decoded,
    outcome: Outcome,
    keys_at: KeysAt | None,
    originals: Mapping[int, int],
) -> pl.DataFrame:
    """The batch's dead letters: what could not be decoded and what the fold refused."""
    if not decoded.failures and outcome.dead.is_empty():
        return _NO_LETTERS
    found = [(f.position, 0, f.error_class, f.message, None, None) for f in decoded.failures]
    refused = outcome.dead
    at = np.searchsorted(raw.offsets, refused["@offset"].to_numpy())
    found += zip(at.tolist(), _index(refused), *refused.drop("@offset"), strict=True)
    keys = {} if keys_at is None else keys_at([int(raw.offsets[at]) for at, *_ in found])
    return pl.DataFrame(
        [
            {
                "topic": raw.topic,
                "partition": raw.partition,
                "offset": int(raw.offsets[position]),
                "index": index,
                "timestamp": int(raw.timestamps[position]),
                "key": raw.keys[position] if raw.keys else keys.get(int(raw.offsets[position])),
                "value": raw.values[position],
                "error_class": error_class,
                "message": message,
                "stack": stack,
                "timer": timer,
                "retry_of": None if index else originals.get(int(raw.offsets[position])),
            }
            for position, index, error_class, message, stack, timer in sorted(
                found, key=lambda letter: letter[:2]
            )
        ],
        schema=dead_letters.FRAME_SCHEMA,
    )


def _index(refused: pl.DataFrame) -> pl.Series:
    """Zero for a record, and a number from one on for each timer it made fire that failed."""
    counted = pl.col("timer").is_not_null().cast(pl.Int32).cum_sum().over("@offset")
    return refused.select(
        pl.when(pl.col("timer").is_not_null()).then(counted).otherwise(0).alias("index")
    )["index"]
