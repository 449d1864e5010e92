"""Logs of programs and what may happen to a worker that folds them, against the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from kappa.processing.keyed.declaration import BoundKeyedProcessor
from kappa.processing.keyed.key_codec import KeyCodec
from kappa.processing.keyed.keys import Key
from kappa.processing.keyed.timers import PROCESSING
from tests.unit.keyed_driver import Worker, WritableStore, bound, events
from tests.unit.keyed_programs import PROGRAMS, TIMER_PROGRAMS, Interpreter
from tests.unit.keyed_reference import Record, Reference, Remembered

PARTITIONS = (0, 1)
ACCOUNTS = ("x", "y", "z")


@dataclass(frozen=True)
class Trial:
    """A processor, the log of each partition, and what is done while they are folded.

    Attributes:
        actions: ``batch`` with a partition and a number of records, or a method of Worker.
        most_keys: how many keys the fold may hold in memory.
    """

    interpreter: Interpreter
    logs: tuple[Sequence[Record], ...]
    actions: Sequence[tuple[Any, ...]]
    most_keys: int

    @property
    def bound(self) -> BoundKeyedProcessor:
        return bound(self.interpreter)


def run(trial: Trial, store: WritableStore) -> Worker:
    """Folds the logs to their ends and commits all."""
    worker = Worker(trial.bound, store, trial.most_keys)
    for name, *arguments in trial.actions:
        if name == "batch":
            partition, size = arguments
            _fold_some(worker, partition, trial.logs[partition], size)
        else:
            getattr(worker, name)()
    for partition, log in enumerate(trial.logs):
        _fold_some(worker, partition, log, len(log))
    worker.settle()
    return worker


def check(trial: Trial, worker: Worker) -> None:
    """Whether rows, dead letters, states and timers are those of the reference."""
    for partition, log in enumerate(trial.logs):
        reference = Reference(trial.interpreter)
        for record in log:
            reference.take(record)
        for output, expected in reference.rows.items():
            rows = [row[1:] for row in worker.rows.get(output, ()) if row[0] == partition]
            assert sorted(rows) == expected
        letters = [
            (offset, error_class, timer)
            for of, offset, error_class, _, _, timer in worker.letters
            if of == partition
        ]
        assert letters == reference.letters
        _check_states(trial.bound, worker.store, partition, reference.remembered())


def _fold_some(worker: Worker, partition: int, log: Sequence[Record], count: int) -> None:
    position = worker.position(partition)
    records = log[position : position + count]
    worker.apply(partition, events(partition, records), len(records))


def _check_states(
    bound: BoundKeyedProcessor,
    store: WritableStore,
    partition: int,
    expected: dict[str, Remembered],
) -> None:
    codec = KeyCodec(bound.states)
    stored = {row.key: row for row in store.states(partition, ACCOUNTS, None, None)}
    assert stored.keys() == expected.keys()
    for account, row in stored.items():
        key = Key(account, *codec.decode(row.state))
        held = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in zip(bound.states, key.values, strict=True)
            if value is not None
        }
        assert Remembered(held, key.timers) == expected[account]
        in_event_time = [at for (rank, _), at in key.timers.items() if rank != PROCESSING]
        assert row.event_timer == min(in_event_time, default=None)
        in_processing_time = [at for (rank, _), at in key.timers.items() if rank == PROCESSING]
        assert row.processing_timer == min(in_processing_time, default=None)
        assert codec.encode(key) == row.state


_DRAWN = st.tuples(
    st.integers(1, 3),  # offsets from the record before
    st.integers(0, 60),  # timestamp
    st.sampled_from(ACCOUNTS),
    st.sampled_from([*range(60), None]),  # event time
    st.sampled_from([0, 1, 2, 3] * 5 + [None]),  # program
    st.sampled_from([True] * 20 + [False]),  # own key
)


def _log(drawn: Sequence[tuple[Any, ...]]) -> list[Record]:
    offset = -1
    log = []
    for passed, *rest in drawn:
        offset += passed
        log.append(Record(offset, *rest))
    return log


_LOG = st.lists(_DRAWN, min_size=6, max_size=14).map(_log)
_BATCH = st.tuples(st.just("batch"), st.sampled_from(PARTITIONS), st.integers(0, 5))
_OTHER = st.tuples(st.sampled_from(["flush", "commit", "commit", "restart"]))
TRIALS: st.SearchStrategy[Trial] = st.builds(
    Trial,
    interpreter=st.builds(Interpreter, PROGRAMS, TIMER_PROGRAMS),
    logs=st.tuples(_LOG, _LOG),
    actions=st.lists(st.one_of(_BATCH, _BATCH, _OTHER), min_size=5, max_size=30),
    most_keys=st.sampled_from([1, 2, 3, 20, 200_000]),
)
