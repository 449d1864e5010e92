"""A keyed processor that runs little programs: whatever a handler can do, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from hypothesis import strategies as st

from kappa.processing.keyed.context import Context
from kappa.processing.keyed.declaration import KeyedProcessor
from kappa.processing.keyed.state import ListState, MapState, ValueState
from kappa.processing.source import Source

Step = tuple[Any, ...]
Program = Sequence[Step]

SCHEMA = pl.Schema({"account": pl.String(), "at": pl.Int64(), "program": pl.Int64()})
OUT_OF_ORDERNESS = 3
TTLS = {"fading": 7, "recent": 10, "scores": 12}


class Interpreter(KeyedProcessor):
    """Says what it sees, then runs the program an event names; a timer that of its own name."""

    name, version = "interpreter", 1
    source = Source("programs", event_time="at", out_of_orderness=OUT_OF_ORDERNESS)
    key = "account"
    columns = ("program",)
    output = pl.Schema({"said": pl.String()})
    outputs = {"notes": pl.Schema({"said": pl.String()})}  # noqa: RUF012

    value = ValueState(int)
    fading = ValueState(int, ttl=TTLS["fading"])
    recent = ListState(int, ttl=TTLS["recent"])
    log = ListState(str)
    table = MapState(str, int)
    scores = MapState(int, int, ttl=TTLS["scores"])

    def __init__(self, programs: Sequence[Program], timers: dict[str, Program]) -> None:
        self.programs = programs
        self.timers = timers

    def on_event(self, event: Any, ctx: Context) -> None:
        self.run(self.programs[event.program], ctx.event_time, ctx)

    def on_timer(self, at: int, ctx: Context) -> None:
        assert ctx.timer is not None
        self.run(self.timers[ctx.timer], at, ctx)

    def run(self, program: Program, now: int, ctx: Context) -> None:
        self.do_say(now, ctx)
        for name, *arguments in program:
            getattr(self, f"do_{name}")(now, ctx, *arguments)

    def do_set(self, now: int, ctx: Context, state: str, value: int) -> None:
        getattr(self, state).set(value)

    def do_append(self, now: int, ctx: Context, value: int) -> None:
        self.recent.append(value)
        self.log.extend([f"{now}", f"{value}"])

    def do_put(self, now: int, ctx: Context, key: int, value: int | None) -> None:
        self.table.put(str(key), value)  # type: ignore[arg-type]
        self.scores.put(key, value)  # type: ignore[arg-type]

    def do_remove(self, now: int, ctx: Context, key: int) -> None:
        self.table.remove(str(key))
        self.scores.remove(key)

    def do_clear(self, now: int, ctx: Context, state: str) -> None:
        getattr(self, state).clear()

    def do_event_timer(self, now: int, ctx: Context, name: str, delta: int) -> None:
        ctx.set_event_timer(now + delta, name)

    def do_processing_timer(self, now: int, ctx: Context, name: str, delta: int) -> None:
        ctx.set_processing_timer(ctx.processing_time + delta, name)

    def do_cancel(self, now: int, ctx: Context, name: str) -> None:
        ctx.cancel_event_timer(name)
        ctx.cancel_processing_timer(name)

    def do_say(self, now: int, ctx: Context) -> None:
        ctx.emit(said=self.seen(now, ctx))

    def do_note(self, now: int, ctx: Context) -> None:
        ctx.emit_to("notes", said=self.seen(now, ctx))

    def do_raise(self, now: int, ctx: Context) -> None:
        raise LookupError(self.seen(now, ctx))

    def do_misspeak(self, now: int, ctx: Context) -> None:
        ctx.emit(said=now)

    def do_misset(self, now: int, ctx: Context) -> None:
        try:
            self.recent.extend([1, "two"])  # type: ignore[list-item]
        except Exception as error:
            raise ValueError from error

    def seen(self, now: int, ctx: Context) -> str:
        """All that the handler can see."""
        moment = (now, ctx.key, ctx.timer, ctx.event_time, ctx.watermark, ctx.processing_time)
        states = (
            self.value.get(),
            self.fading.get(),
            self.recent.get(),
            self.log.get(),
            self.table.items(),
            self.table.get("1"),
            self.scores.items(),
        )
        return repr((moment, states))


NAMES = ("", "a", "b")
_states = st.sampled_from(["value", "fading", "recent", "log", "table", "scores"])
_small = st.integers(0, 3)
_delta = st.integers(-5, 20)

STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("say")),
    st.tuples(st.just("note")),
    st.tuples(st.just("set"), st.sampled_from(["value", "fading"]), _small),
    st.tuples(st.just("append"), _small),
    st.tuples(st.just("put"), _small, st.one_of(st.none(), _small)),
    st.tuples(st.just("remove"), _small),
    st.tuples(st.just("clear"), _states),
    st.tuples(st.just("event_timer"), st.sampled_from(NAMES), _delta),
    st.tuples(st.just("event_timer"), st.sampled_from(NAMES), _delta),
    st.tuples(st.just("processing_timer"), st.sampled_from(NAMES), _delta),
    st.tuples(st.just("processing_timer"), st.sampled_from(NAMES), _delta),
    st.tuples(st.just("cancel"), st.sampled_from(NAMES)),
)
_FAILURES = st.tuples(st.sampled_from(["raise", "misspeak", "misset"]))
_PROGRAM = st.lists(STEPS, min_size=2, max_size=6)
_FAILING = st.tuples(_PROGRAM, _FAILURES).map(lambda parts: [*parts[0], parts[1]])
PROGRAMS = st.tuples(_PROGRAM, _PROGRAM, _PROGRAM, _FAILING)
TIMER_PROGRAMS = st.fixed_dictionaries({"": _PROGRAM, "a": _PROGRAM, "b": _FAILING})
