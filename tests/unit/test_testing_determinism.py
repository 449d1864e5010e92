"""Ways of reading a topic are all tried, and what comes out differently is said."""

from __future__ import annotations

from collections import Counter
from itertools import count, pairwise
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import polars as pl
import pytest

from kappa import (
    Context,
    Count,
    KeyedProcessor,
    Last,
    ListState,
    Session,
    Source,
    Sum,
    ValueState,
)
from kappa import WindowedAggregate as Windowed
from kappa.testing import Sent, assert_deterministic
from kappa.testing.schedules import Act, Read, after_jumps, at_random, fixed, one_by_one

VISITS = {"user": pl.String, "page": pl.String, "at": pl.Int64}
TIMES = [10, 30, 20, 95, 70, 140, 141]


def visits(user: str) -> list[dict[str, Any]]:
    return [{"user": user, "page": f"p{at}", "at": at} for at in TIMES]


class Seen(KeyedProcessor):
    name, version = "seen", 1
    source = Source("visits", event_time="at", out_of_orderness=20)
    key = "user"
    output: ClassVar[Any] = {"user": pl.String(), "page": pl.String(), "number": pl.Int64()}
    number = ValueState(int)

    def on_event(self, event: Any, ctx: Context) -> None:
        self.number.set((self.number.get() or 0) + 1)
        ctx.emit(user=event.user, page=event.page, number=self.number.get())
        ctx.set_event_timer(ctx.event_time + 30)

    def on_timer(self, at: int, ctx: Context) -> None:
        ctx.emit(user=ctx.key, number=self.number.get())


_calls = count()


class Outward(Seen):
    """Looks at something that is neither the event nor a state."""

    def on_event(self, event: Any, ctx: Context) -> None:
        ctx.emit(user=event.user, page=event.page, number=next(_calls))


class Private(Seen):
    """Keeps what it has seen where a restart loses it."""

    memory: ClassVar[Counter[str]] = Counter()

    def on_event(self, event: Any, ctx: Context) -> None:
        self.memory[event.user] += 1
        ctx.emit(user=event.user, page=event.page, number=self.memory[event.user] % 7)


class Shaken(Seen):
    """Goes wrong at a worker's second record, if the first came right behind a jump of time."""

    times = ListState(int)
    taken: ClassVar[WeakKeyDictionary[Any, int]] = WeakKeyDictionary()
    """How many records each worker has taken."""

    def on_event(self, event: Any, ctx: Context) -> None:
        self.times.append(ctx.event_time)
        self.taken[self] = self.taken.get(self, 0) + 1
        moved = [after - before for before, after in pairwise(self.times.get())]
        if self.taken[self] == 2 and len(moved) > 2 and moved[-3] > 40:
            ctx.emit(user=event.user, page=event.page)


def test_a_processor_that_keeps_to_its_states_passes() -> None:
    assert_deterministic(Seen, {0: visits("ann"), 3: visits("bob")}, schema=VISITS)
    assert_deterministic(Seen(), visits("ann"), schema=VISITS)


def test_so_do_windows_tombstones_and_foreign_keys() -> None:
    processor = Windowed(
        name="sessions",
        version=1,
        source=Source("visits", event_time="at", out_of_orderness=20),
        key=["user"],
        window=Session(25),
        aggregates={"visits": Count(), "sum": Sum("at"), "last": Last("page")},
    )
    records = [*visits("ann"), None, Sent(visits("ann")[0], timestamp=5_000, key="bob")]
    with_keys = [Sent(None, key="ann") if record is None else record for record in records]
    assert_deterministic(processor, {0: with_keys, 1: visits("bob")}, schema=VISITS)
    assert_deterministic(processor, [], schema=VISITS)


def test_the_message_names_the_ways_and_the_rows() -> None:
    with pytest.raises(AssertionError) as failed:
        assert_deterministic(Outward, {0: visits("ann"), 1: visits("bob")}, schema=VISITS)
    message = str(failed.value)
    assert "record by record, or each partition in one batch" in message
    assert "rows only with record by record:\n    user='ann', page='p10', number=0" in message
    assert "and 9 more" in message
    assert message.endswith("each partition in one batch is: 7 of partition 0, 7 of partition 1")


def test_what_a_handler_remembers_by_itself_is_found_out() -> None:
    with pytest.raises(AssertionError, match="restart"):
        assert_deterministic(Private, {0: visits("ann"), 1: visits("bob")}, schema=VISITS)


def test_what_goes_wrong_right_after_a_jump_alone_is_found_out_without_luck() -> None:
    times = [10, 20, 30, 40, 50, 500, 510, 520, 530]
    rows = [{"user": "ann", "page": f"p{at}", "at": at} for at in times]
    with pytest.raises(AssertionError, match="or a restart after record 5 of partition 0"):
        assert_deterministic(Shaken, rows, schema=VISITS, ways=0)


def test_every_way_reads_every_record_once() -> None:
    lengths = {0: 5, 1: 0, 4: 3}
    ways = [
        one_by_one(lengths),
        *fixed(lengths),
        *after_jumps(lengths, {0: [0, 4], 4: [1]}),
        *at_random(lengths, 30, seed=1),
    ]
    for way in ways:
        read = Counter[int]()
        for step in way.steps:
            if isinstance(step, Read):
                read[step.partition] += step.count
        assert +read == Counter({0: 5, 4: 3}), way.name
    drawn = [step for way in ways for step in way.steps]
    assert set(Act) <= set(drawn)
    assert [str(way) for way in at_random(lengths, 5, seed=1)] == [
        str(way) for way in at_random(lengths, 5, seed=1)
    ]


def test_a_restart_comes_right_after_a_jump() -> None:
    (way,) = after_jumps({0: 5, 1: 2}, {0: [2]})
    assert str(way) == (
        "2 of partition 0, checkpoint, 1 of partition 0, checkpoint, restart,"
        " 2 of partition 1, 2 of partition 0"
    )
