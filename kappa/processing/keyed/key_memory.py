"""Which keys are in memory: loaded when they are needed, written when they changed, bounded."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator

import polars as pl

from kappa.processing.events import STATE_SCHEMA
from kappa.processing.keyed.key_codec import KeyCodec
from kappa.processing.keyed.keys import Key, PartitionKeys
from kappa.processing.keyed.records import Records
from kappa.processing.keyed.timers import PROCESSING
from kappa.processing.store import Store, StoredState

_KEPT = 0.75
"""The share of the bound that is left in memory when keys are dropped from it."""
_AT_ONCE = 8
"""A partition whose keys are no more than this part of the bound is read whole."""


class KeyMemory:
    """The keys of all partitions in memory.

    A key can be dropped once all that changed of it is committed; what has changed since, or is
    on its way, stays. So memory holds the bound, plus what two flushes and one batch touch.

    Args:
        codec: turns a key into bytes and back.
        states: how many states a key has.
        store: what is committed.
        most: how many keys to hold.
    """

    def __init__(self, codec: KeyCodec, states: int, store: Store, most: int) -> None:
        self._codec = codec
        self._states = states
        self._store = store
        self._most = most
        self._partitions: dict[int, PartitionKeys] = {}
        self._flights: deque[list[tuple[PartitionKeys, list[Key]]]] = deque()

    def __len__(self) -> int:
        return sum(len(keys.by_text) for keys in self._partitions.values())

    @property
    def full(self) -> bool:
        """Whether as many keys have changed as memory should hold."""
        return self._dirty >= self._most

    def partition(self, number: int, *, fresh: bool) -> PartitionKeys:
        """The keys of a partition. ``fresh``: no record of it was folded before.

        Where few have a state, all of them are brought into memory, and the store is not asked
        again: one that is asked costs every batch as much as its handlers do.
        """
        keys = self._partitions.get(number)
        if keys is None:
            known = () if fresh else self._store.every_state(number, self._room)
            keys = PartitionKeys(number, self._states, asks=known is None)
            self._partitions[number] = keys
            self._take_in(keys, known or ())
        return keys

    def load(self, keys: PartitionKeys, records: Records) -> None:
        """Brings into memory the keys of the batch and all that have a timer due within it."""
        if not keys.asks or not len(records.keys):
            return
        missing: list[str] = []
        for text in records.keys.unique().sort().to_list():  # as they lie in an index
            key = keys.by_text.get(text)
            if key is None:
                missing.append(text)
            else:
                key.used = keys.batch
        found = self._store.states(keys.number, missing, records.watermark, records.processing_time)
        self._take_in(keys, found)
        for text in missing:
            if text not in keys.by_text:
                keys.add(keys.nothing(text))

    def _take_in(self, keys: PartitionKeys, found: Iterable[StoredState]) -> None:
        """Brings stored keys into memory, but for those whose newer state is there."""
        for stored in found:
            if stored.key not in keys.by_text:
                keys.add(Key(stored.key, *self._codec.decode(stored.state)))

    def flush(self) -> pl.DataFrame:
        """What changed of the state of keys since the last flush (STATE_SCHEMA)."""
        flight = []
        frames = [STATE_SCHEMA.to_frame()]
        for number, keys in sorted(self._partitions.items()):
            changed, keys.dirty = keys.dirty, []
            for key in changed:
                key.dirty = False
                key.unsettled += 1
            flight.append((keys, changed))
            frames.append(self._stored(number, changed))
        self._flights.append(flight)
        return pl.concat(frames)

    def settled(self) -> None:
        """The oldest flush that was not settled yet is committed."""
        for keys, changed in self._flights.popleft():
            for key in changed:
                key.unsettled -= 1
                if not keys.asks and not key.dirty and not key.unsettled and key.is_blank:
                    del keys.by_text[key.text]

    def tidy(self) -> None:
        """Drops the keys longest out of use, if memory holds too many, and worn-out timers."""
        flying = sum(len(changed) for flight in self._flights for _, changed in flight)
        held = self._dirty + flying
        droppable = len(self) - held
        if len(self) > self._most and droppable > self._most // 8:
            self._drop(min(droppable, len(self) - int(self._most * _KEPT)))
        for keys in self._partitions.values():
            keys.tidy()

    @property
    def _room(self) -> int:
        """How many keys to take in that no batch has asked for."""
        return max(0, min(self._most // _AT_ONCE, int(self._most * _KEPT) - len(self)))

    @property
    def _dirty(self) -> int:
        return sum(len(keys.dirty) for keys in self._partitions.values())

    def _drop(self, count: int) -> None:
        """Drops this many keys, those longest out of use first."""
        used = sorted(key.used for keys in self._partitions.values() for key in _droppable(keys))
        last = used[count - 1]
        of_last = count - bisect_left(used, last)
        for keys in self._partitions.values():
            for key in list(_droppable(keys)):
                if key.used > last or (key.used == last and not of_last):
                    continue
                of_last -= key.used == last
                del keys.by_text[key.text]
                keys.asks = keys.asks or not key.is_blank

    def _stored(self, number: int, changed: list[Key]) -> pl.DataFrame:
        """Keys of one partition as they are stored; column by column, without a row of each."""
        encode = self._codec.encode
        columns: dict[str, object] = {
            "partition": pl.repeat(number, len(changed), dtype=pl.Int32(), eager=True),
            "key": [key.text for key in changed],
            "state": [None if key.is_blank else encode(key) for key in changed],
            "event_timer": [_due(key, of_events=True) for key in changed],
            "processing_timer": [_due(key, of_events=False) for key in changed],
        }
        return pl.DataFrame(columns, schema=STATE_SCHEMA)


def _droppable(keys: PartitionKeys) -> Iterator[Key]:
    """Those whose changes, if there were any, are committed."""
    return (key for key in keys.by_text.values() if not key.dirty and not key.unsettled)


def _due(key: Key, *, of_events: bool) -> int | None:
    """When the first timer of one kind of time is due; None where there is none."""
    if not key.timers:
        return None
    due = (at for (kind, _), at in key.timers.items() if (kind != PROCESSING) is of_events)
    return min(due, default=None)
