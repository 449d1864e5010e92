"""Runs a keyed fold as a worker does, against a store in memory, through restarts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol

import polars as pl

from kappa.eventtime.watermark import PartitionClock
from kappa.processing.admission import anything
from kappa.processing.events import TOMBSTONE_SCHEMA, Changes, Events
from kappa.processing.keyed.declaration import BoundKeyedProcessor, KeyedProcessor
from kappa.processing.store import Store, StoredState
from kappa.testing.states import States
from tests.unit.keyed_programs import SCHEMA
from tests.unit.keyed_reference import Record

RECORD_SCHEMA = pl.Schema(
    {
        **SCHEMA,
        "@partition": pl.Int32(),
        "@offset": pl.Int64(),
        "@timestamp": pl.Int64(),
        "@key": pl.Binary(),
    }
)


def events(partition: int, records: Sequence[Record]) -> Events:
    """The records as a batch of one partition."""
    live = [record for record in records if record.program is not None]
    gone = [record for record in records if record.program is None]
    frame = pl.DataFrame(
        [
            {
                "account": record.account,
                "at": record.at,
                "program": record.program,
                "@partition": partition,
                "@offset": record.offset,
                "@timestamp": record.timestamp,
                "@key": (record.account if record.own_key else "another").encode(),
            }
            for record in live
        ],
        schema=RECORD_SCHEMA,
    )
    return batch(partition, frame, [(r.offset, r.timestamp) for r in gone])


def batch(
    partition: int, frame: pl.DataFrame, tombstones: Sequence[tuple[int, int]] = ()
) -> Events:
    """A batch of a frame with its system columns, and tombstones (offset, timestamp)."""
    gone = pl.DataFrame(
        [(offset, timestamp, b"") for offset, timestamp in tombstones],
        schema=TOMBSTONE_SCHEMA,
        orient="row",
    )
    newest = pl.concat([frame["@timestamp"], gone["@timestamp"]]).max()
    assert newest is None or isinstance(newest, int)
    return Events("programs", partition, frame, gone, newest)


def bound(processor: KeyedProcessor, schema: pl.Schema = SCHEMA) -> BoundKeyedProcessor:
    return processor.bind(schema, (), processor.key)


class WritableStore(Store, Protocol):
    """A store a worker commits to."""

    def write(self, state: pl.DataFrame) -> None:
        """Commits what changed of the state of keys (STATE_SCHEMA)."""


class MemoryStore(States):
    """Committed states; keeps how it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, tuple[str, ...]]] = []

    def states(
        self,
        partition: int,
        keys: Collection[str],
        event_through: int | None,
        processing_through: int | None,
    ) -> Sequence[StoredState]:
        self.asked.append((partition, tuple(sorted(keys))))
        return super().states(partition, keys, event_through, processing_through)

    def open_rows(self, partition: int, ends_after: int, schema: pl.Schema) -> pl.DataFrame:
        raise AssertionError("a keyed processor asks for states only")


class Worker:
    """A fold, its committed store, and what has become of every partition.

    Attributes:
        rows: what is committed of each output, as (partition, offset, index, values…).
        letters: the committed dead letters, as (partition, offset, class, message, stack, timer).
    """

    def __init__(
        self, bound: BoundKeyedProcessor, store: WritableStore, most_keys: int = 200_000
    ) -> None:
        self.store = store
        self.rows: dict[str, list[tuple[Any, ...]]] = {}
        self.letters: list[tuple[Any, ...]] = []
        self._bound = bound
        self._most_keys = most_keys
        self._committed: dict[int, tuple[int, PartitionClock]] = {}
        self._restart()

    def settle(self) -> None:
        """Flushes and commits all."""
        self.flush()
        while self._flights:
            self.commit()

    def restart(self) -> None:
        """Dies and begins again where the last commit left off."""
        self._restart()

    def position(self, partition: int) -> int:
        """How many of the partition's records are folded."""
        return self._places.get(partition, (0, PartitionClock()))[0]

    def apply(self, partition: int, events: Events, records: int) -> None:
        """Folds one batch of so many records in."""
        position, clock = self._places.get(partition, (0, PartitionClock()))
        outcome = self.fold.apply(events, clock)
        self._letters += [(partition, *row) for row in outcome.dead.iter_rows()]
        self._places[partition] = (position + records, outcome.clock)

    def flush(self) -> None:
        letters, self._letters = self._letters, []
        self._flights.append((self.fold.flush(), dict(self._places), letters))

    def commit(self) -> None:
        """Commits the oldest flush that is not committed yet, if there is one."""
        if not self._flights:
            return
        changes, places, letters = self._flights.pop(0)
        assert changes.state is not None
        self.store.write(changes.state)
        for output, frame in _outputs(changes):
            self.rows.setdefault(output, []).extend(_placed(frame))
        self.letters += letters
        self._committed = places
        self.fold.settled()

    def _restart(self) -> None:
        self.fold = self._bound.fold(anything, self.store, self._most_keys)
        self._places = dict(self._committed)
        self._letters: list[tuple[Any, ...]] = []
        self._flights: list[
            tuple[Changes, dict[int, tuple[int, PartitionClock]], list[tuple[Any, ...]]]
        ] = []


def _outputs(changes: Changes) -> Iterator[tuple[str, pl.DataFrame]]:
    yield "main", changes.rows
    yield from changes.sides.items()


def _placed(frame: pl.DataFrame) -> Iterator[tuple[Any, ...]]:
    place = ["_partition", "_offset", "_index"]
    yield from frame.select(*place, pl.exclude(place)).iter_rows()
