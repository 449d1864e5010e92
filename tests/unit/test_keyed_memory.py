"""Which keys are in memory, and when the store is asked for others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl
import pytest

from kappa import Context, KeyedProcessor, Source, ValueState
from kappa.eventtime.watermark import PartitionClock
from kappa.processing.admission import anything
from kappa.processing.keyed import fold as keyedfold
from kappa.processing.keyed.fold import KeyedFold
from kappa.processing.keyed.key_memory import KeyMemory
from kappa.processing.keyed.timers import NEVER, TimerQueue
from tests.unit.keyed_driver import MemoryStore, Worker, batch

SCHEMA = pl.Schema({"account": pl.String(), "at": pl.Int64()})


class Counter(KeyedProcessor):
    """Counts the records of a key; a key beginning with ``quiet`` only says its count."""

    name, version = "counter", 1
    source = Source("things", event_time="at")
    key = "account"
    output = pl.Schema({"key": pl.String(), "count": pl.Int64()})
    count = ValueState(int)

    def on_event(self, event: Any, ctx: Context) -> None:
        if not ctx.key.startswith("quiet"):
            self.count.set((self.count.get() or 0) + 1)
        ctx.emit(key=ctx.key, count=self.count.get())


class Run:
    """A worker with one partition that is fed by lists of keys."""

    def __init__(self, processor: KeyedProcessor, most_keys: int) -> None:
        self.store = MemoryStore()
        self.worker = Worker(processor.bind(SCHEMA), self.store, most_keys)
        self.offset = 0

    @property
    def fold(self) -> KeyedFold:
        return self.worker.fold

    @property
    def in_memory(self) -> int:
        return len(memory_of(self.fold))

    def feed(self, keys: Iterable[str], *, commit: bool = True) -> None:
        listed = list(keys)
        offsets = range(self.offset, self.offset + len(listed))
        frame = pl.DataFrame(
            {"account": listed, "at": offsets, "@offset": offsets, "@timestamp": offsets},
            schema_overrides={"account": pl.String, "at": pl.Int64},
        ).with_columns(
            pl.col("account").cast(pl.Binary).alias("@key"),
            pl.lit(0, pl.Int32).alias("@partition"),
        )
        self.offset += len(listed)
        self.worker.apply(0, batch(0, frame), len(listed))
        if commit:
            self.worker.flush()
            self.worker.commit()

    def counts(self) -> dict[str, int | None]:
        """The last count of each key."""
        return {key: count for *_, key, count in sorted(self.worker.rows["main"])}


def memory_of(fold: KeyedFold) -> KeyMemory:
    return fold._memory


def names(count: int, stem: str = "k") -> list[str]:
    return [f"{stem}{number:05d}" for number in range(count)]


def test_a_store_that_cannot_know_more_is_not_asked() -> None:
    run = Run(Counter(), most_keys=100)
    for _ in range(5):
        run.feed(names(90))
    assert run.store.asked == []
    assert set(run.counts().values()) == {5}


def test_keys_that_leave_nothing_behind_take_no_room() -> None:
    run = Run(Counter(), most_keys=100)
    for number in range(20):
        run.feed(names(100, f"quiet{number}-"))
    assert run.in_memory == 0
    run.feed(names(500, "loud"))  # changed, so the store is asked from now on
    for _ in range(20):
        run.feed(names(25, "quiet"))
    assert run.in_memory <= 100
    assert len(run.store.asked) == 20
    assert sum(len(keys) for _, keys in run.store.asked) == 25


class Fleeting(Counter):
    """Forgets a key at its second record."""

    def on_event(self, event: Any, ctx: Context) -> None:
        if self.count.get() is None:
            self.count.set(1)
        else:
            self.count.clear()


def test_keys_that_are_forgotten_leave_memory_when_that_is_committed() -> None:
    run = Run(Fleeting(), most_keys=100)
    run.feed(names(50))
    run.feed(names(50), commit=False)
    assert (run.in_memory, len(run.store.rows)) == (50, 50)
    run.worker.flush()
    run.feed(names(1), commit=False)
    run.worker.commit()
    assert (run.in_memory, len(run.store.rows)) == (1, 0)


def test_after_a_key_was_dropped_the_store_is_asked_for_what_is_missing() -> None:
    run = Run(Counter(), most_keys=100)
    run.feed(names(100, "a"))
    run.feed(names(50, "b"))
    assert run.in_memory <= 100
    run.feed([*names(2, "a"), *names(1, "b")])
    assert run.store.asked == [(0, ("a00000", "a00001"))]
    assert run.counts()["a00001"] == 2
    assert run.counts()["b00000"] == 2


def test_a_worker_that_goes_on_asks_for_every_key_once() -> None:
    run = Run(Counter(), most_keys=100)
    run.feed(names(13))
    run.worker.restart()
    run.feed(names(13))
    run.feed(names(13))
    assert run.store.asked == [(0, tuple(names(13))), (0, ())]
    assert set(run.counts().values()) == {3}


def test_a_worker_that_goes_on_from_few_keys_reads_them_all_and_never_asks() -> None:
    run = Run(Counter(), most_keys=100)
    run.feed(names(12))
    run.worker.restart()
    run.feed(names(1))
    assert run.in_memory == 12
    run.feed([*names(12), *names(20, "quiet")])
    assert run.in_memory == 12
    run.feed(names(100, "loud"))  # more than memory holds: what is dropped must be asked for
    run.feed(names(12))
    assert [asked[:1] for _, asked in run.store.asked] == [("k00000",)]
    assert {run.counts()[name] for name in names(12)[1:]} == {3}


def test_what_is_read_at_once_leaves_room_for_what_is_asked_for() -> None:
    run = Run(Counter(), most_keys=100)
    run.feed(names(12))
    stored = list(run.store.rows.values())
    run.store.rows |= {(number, row.key): row for number in range(12) for row in stored}
    memory = memory_of(Counter().bind(SCHEMA).fold(anything, run.store, 100))
    asked = [memory.partition(number, fresh=False).asks for number in range(12)]
    assert asked == [False] * 6 + [True] * 6
    assert len(memory) == 72


def test_keys_longest_out_of_use_are_dropped_first() -> None:
    run = Run(Counter(), most_keys=100)
    run.feed(names(100, "a"))
    run.feed(names(30, "b"))  # some of a are dropped, and uses are counted from now on
    run.feed(names(40, "b"))
    run.feed(names(30, "c"))
    run.store.asked.clear()
    run.feed([*names(40, "b"), *names(30, "c")])
    assert run.store.asked == [(0, ())]


def test_changed_keys_stay_until_their_flush_is_committed() -> None:
    run = Run(Counter(), most_keys=10)
    run.feed(names(50), commit=False)
    assert run.in_memory == 50
    run.worker.flush()
    run.feed([], commit=False)
    assert run.in_memory == 50
    run.worker.commit()
    assert run.in_memory <= 10


def test_a_key_that_is_forgotten_and_met_again_is_flushed_once() -> None:
    run = Run(Fleeting(), most_keys=100)
    run.feed(["k"], commit=False)
    run.worker.flush()
    run.feed(["k"], commit=False)  # forgotten, while it is on its way as remembered
    run.worker.commit()
    run.feed(["k"], commit=False)
    state = run.fold.flush().state
    assert state is not None
    assert state["key"].to_list() == ["k"]


def test_a_key_on_its_way_to_the_store_is_not_dropped() -> None:
    run = Run(Counter(), most_keys=10)
    run.feed(names(40, "z"))  # some are dropped, so the store is asked from now on
    run.feed(names(5, "a"), commit=False)
    run.worker.flush()
    run.feed(names(20, "quiet"), commit=False)
    assert run.in_memory < 15
    run.feed(names(5, "a"), commit=False)
    run.worker.settle()
    assert {run.counts()[key] for key in names(5, "a")} == {2}


def test_a_fold_is_full_when_as_many_keys_changed_as_it_may_hold() -> None:
    run = Run(Counter(), most_keys=10)
    run.feed(names(9), commit=False)
    assert not run.fold.full
    run.feed(names(10), commit=False)
    assert run.fold.full
    run.worker.flush()
    assert not run.fold.full


def test_a_fold_is_full_of_emitted_rows_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyedfold, "_MOST_ROWS", 20)
    run = Run(Counter(), most_keys=1_000)
    run.feed(["k"] * 19, commit=False)
    assert not run.fold.full
    run.feed(["k"], commit=False)
    assert run.fold.full
    run.worker.flush()
    assert not run.fold.full


def test_many_keys_pass_through_a_bounded_memory() -> None:
    run = Run(Counter(), most_keys=1_000)
    most = 0
    for number in range(100):
        run.feed(names(1_000, f"{number}-"))
        most = max(most, run.in_memory)
    assert most <= 2_000
    assert len(run.store.rows) == 100_000


class Idle(KeyedProcessor):
    """Says which key had no record for ten seconds."""

    name, version = "idle", 1
    source = Source("things", event_time="at", out_of_orderness=100)
    key = "account"
    output = pl.Schema({"key": pl.String(), "at": pl.Int64()})

    def on_event(self, event: Any, ctx: Context) -> None:
        ctx.set_event_timer(ctx.event_time + 10_000)
        ctx.set_processing_timer(ctx.processing_time + 20_000)

    def on_timer(self, at: int, ctx: Context) -> None:
        ctx.emit(key=ctx.key, at=at)


def test_a_timer_that_is_moved_again_and_again_fires_once() -> None:
    run = Run(Idle(), most_keys=100)
    for _ in range(8):
        run.feed(["busy", "other"] * 1_000, commit=False)
    run.worker.flush()
    run.worker.commit()
    last_of_busy = run.offset - 2
    run.feed(["other"] * 10_100)
    due = last_of_busy + 10_000
    assert run.worker.rows["main"][0] == (0, due + 100, 0, "busy", due)


def test_a_timer_in_memory_counts_and_not_the_one_in_the_store() -> None:
    run = Run(Idle(), most_keys=100)
    run.feed(["a"])
    run.worker.restart()
    run.feed(["a"], commit=False)
    run.feed(["other"] * 10_200)
    assert [row[3:] for row in run.worker.rows["main"]] == [("a", 10_001)]


def test_entries_of_moved_timers_do_not_pile_up() -> None:
    run = Run(Idle(), most_keys=100)
    for _ in range(50):
        run.feed(["busy"] * 500, commit=False)
    keys = memory_of(run.fold).partition(0, fresh=True)
    assert len(keys.event_timers) < 2_000


def test_a_queue_knows_when_its_first_entry_is_due() -> None:
    queue = TimerQueue()
    assert queue.due == NEVER
    queue.push(5, 1, "k", "")
    queue.push(3, 1, "k", "a")
    queue.push(3, 0, "z", "a")
    queue.push(3, 1, "a", "b")
    assert queue.due == 3
    order = [queue.pop() for _ in range(3)]
    assert order == [(3, 0, "z", "a"), (3, 1, "a", "b"), (3, 1, "k", "a")]
    assert queue.due == 5
    queue.replace([(9, 1, "k", ""), (7, 1, "k", "")])
    assert queue.due == 7
    queue.replace([])
    assert queue.due == NEVER


def test_a_timer_of_a_dropped_key_fires_in_its_batch() -> None:
    run = Run(Idle(), most_keys=2)
    run.feed(["a"])
    for _ in range(6):
        run.feed(names(1_000, "x"))
    assert ("a", 10_000) not in [row[3:] for row in run.worker.rows.get("main", ())]
    for _ in range(5):
        run.feed(names(1_000, "x"))
    assert [row[1:] for row in run.worker.rows["main"] if row[3] == "a"] == [
        (10_100, 0, "a", 10_000)
    ]


def test_states_of_other_partitions_are_not_mixed_up() -> None:
    store = MemoryStore()
    fold = Counter().bind(SCHEMA).fold(anything, store)
    frame = pl.DataFrame(
        {"account": ["k"], "at": [1], "@offset": [0], "@timestamp": [1], "@key": [b"k"]}
    )
    for partition in (0, 1, 1):
        numbered = frame.with_columns(pl.lit(partition, pl.Int32).alias("@partition"))
        fold.apply(batch(partition, numbered), PartitionClock())
    assert fold.flush().rows.rows() == [
        ("k", 1, 0, 0, 0),
        ("k", 1, 1, 0, 0),
        ("k", 2, 1, 0, 0),
    ]
