"""Which keys are in memory: loaded when they are needed, written when they changed, bounded."""

from __future__ import annotations

from collections import deque
from operator import itemgetter

import polars as pl

from kappa.processing.events import STATE_SCHEMA
from kappa.processing.keyed.key_codec import KeyCodec
from kappa.processing.keyed.keys import Key, PartitionKeys
from kappa.processing.keyed.records import Records
from kappa.processing.keyed.timers import NEVER, PROCESSING
from kappa.processing.store import Store

_KEPT = 0.75
"""The share of the bound that is left in memory when keys are dropped from it."""


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
        self._flights: deque[list[tuple[PartitionKeys, Key]]] = deque()

    def __len__(self) -> int:
        return sum(len(keys.by_text) for keys in self._partitions.values())

    @property
    def full(self) -> bool:
        """Whether as many keys have changed as memory should hold."""
        return self._dirty >= self._most

    def partition(self, number: int, *, fresh: bool) -> PartitionKeys:
        """The keys of a partition. ``fresh``: no record of it was folded before."""
        keys = self._partitions.get(number)
        if keys is None:
            keys = PartitionKeys(number, self._states, asks=not fresh)
            self._partitions[number] = keys
        return keys

    def load(self, keys: PartitionKeys, records: Records) -> None:
        """Brings into memory the keys of the batch and all that have a timer due within it."""
        if not keys.asks or not len(records.keys):
            return
        missing: list[str] = []
        for text in records.keys.unique().to_list():
            key = keys.by_text.get(text)
            if key is None:
                missing.append(text)
            else:
                key.used = keys.batch
        found = self._store.states(keys.number, missing, records.watermark, records.processing_time)
        for stored in found:
            if stored.key not in keys.by_text:
                keys.add(Key(stored.key, *self._codec.decode(stored.state)))
        for text in missing:
            if text not in keys.by_text:
                keys.add(keys.nothing(text))

    def flush(self) -> pl.DataFrame:
        """What changed of the state of keys since the last flush (STATE_SCHEMA)."""
        flight: list[tuple[PartitionKeys, Key]] = []
        rows: list[tuple[object, ...]] = []
        for number, keys in sorted(self._partitions.items()):
            changed, keys.dirty = keys.dirty, []
            for key in changed:
                key.dirty = False
                key.unsettled += 1
                rows.append((number, *self._stored(key)))
                flight.append((keys, key))
        self._flights.append(flight)
        return pl.DataFrame(rows, schema=STATE_SCHEMA, orient="row")

    def settled(self) -> None:
        """The oldest flush that was not settled yet is committed."""
        for keys, key in self._flights.popleft():
            key.unsettled -= 1
            if not keys.asks and not key.dirty and not key.unsettled and key.is_blank:
                del keys.by_text[key.text]

    def tidy(self) -> None:
        """Drops the keys longest out of use, if memory holds too many, and worn-out timers."""
        held = self._dirty + sum(map(len, self._flights))
        droppable = len(self) - held
        if len(self) > self._most and droppable > self._most // 8:
            self._drop(min(droppable, len(self) - int(self._most * _KEPT)))
        for keys in self._partitions.values():
            keys.tidy()

    @property
    def _dirty(self) -> int:
        return sum(len(keys.dirty) for keys in self._partitions.values())

    def _drop(self, count: int) -> None:
        free = [
            (key.used, text, keys)
            for keys in self._partitions.values()
            for text, key in keys.by_text.items()
            if not key.dirty and not key.unsettled
        ]
        free.sort(key=itemgetter(0))
        for _, text, keys in free[:count]:
            key = keys.by_text.pop(text)
            keys.asks = keys.asks or not key.is_blank

    def _stored(self, key: Key) -> tuple[object, ...]:
        """Text, state, and when the first timer of each kind is due."""
        if key.is_blank:
            return key.text, None, None, None
        event = processing = NEVER
        for (kind, _), at in key.timers.items():
            if kind == PROCESSING:
                processing = min(processing, at)
            else:
                event = min(event, at)
        return key.text, self._codec.encode(key), _due(event), _due(processing)


def _due(at: int) -> int | None:
    return None if at == NEVER else at
