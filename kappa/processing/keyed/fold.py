"""Folds batches through the handlers of a keyed processor."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from kappa.eventtime.watermark import PartitionClock
from kappa.processing.events import Changes, Events, Outcome, dead_letters
from kappa.processing.keyed.handlers import Handlers
from kappa.processing.keyed.key_memory import KeyMemory
from kappa.processing.keyed.outputs import Output
from kappa.processing.keyed.records import RecordReader

_MOST_ROWS = 1_000_000
"""Emitted rows held before a flush is asked for."""


class KeyedFold:
    """Takes batches of any partition; holds emitted rows and changed keys until they are flushed.

    Args:
        reader: takes batches apart.
        memory: the keys.
        handlers: what is run over them.
        main: the output of the processor's table.
        sides: its side outputs.
    """

    reads_keys = True
    one_by_one = True

    def __init__(
        self,
        reader: RecordReader,
        memory: KeyMemory,
        handlers: Handlers,
        main: Output,
        sides: Mapping[str, Output],
    ) -> None:
        self.reads = reader.reads
        self._reader = reader
        self._memory = memory
        self._handlers = handlers
        self._main = _Rows(main)
        self._sides = {name: _Rows(side) for name, side in sides.items()}
        self._batches = 0

    @property
    def full(self) -> bool:
        rows = sum(rows.count for rows in (self._main, *self._sides.values()))
        return self._memory.full or rows >= _MOST_ROWS

    def apply(self, events: Events, clock: PartitionClock) -> Outcome:
        self._batches += 1
        keys = self._memory.partition(events.partition, fresh=clock.max_record_time is None)
        keys.batch = self._batches
        records = self._reader.read(events, clock)
        self._memory.load(keys, records)
        self._handlers.run(keys, records, self._reader.watermark(clock))
        for rows in (self._main, *self._sides.values()):
            rows.collect(events.partition)
        self._memory.tidy()
        dead = dead_letters([*records.dead, self._handlers.failures.collect()])
        return Outcome(records.clock, dead, filtered=len(events.tombstones))

    def flush(self) -> Changes:
        sides = {name: side.take() for name, side in self._sides.items() if side.count}
        return Changes(self._main.take(), sides=sides, state=self._memory.flush())

    def settled(self) -> None:
        self._memory.settled()
        self._memory.tidy()


class _Rows:
    """The rows of one output since the last flush."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._held: list[pl.DataFrame] = []
        self.count = 0

    def collect(self, partition: int) -> None:
        rows = self._output.collect(partition)
        if rows is not None:
            self._held.append(rows)
            self.count += len(rows)

    def take(self) -> pl.DataFrame:
        held, self._held, self.count = self._held, [], 0
        return pl.concat(held) if held else self._output.schema().to_frame()
