"""Handlers that fail, and handlers without event time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from kappa import Source, ValueState
from kappa.errors import DeclarationError
from kappa.eventtime.watermark import PartitionClock
from kappa.processing.admission import anything
from kappa.processing.events import DEAD_SCHEMA, Outcome
from kappa.processing.keyed.context import Context
from kappa.processing.keyed.declaration import KeyedProcessor
from kappa.processing.keyed.fold import KeyedFold
from kappa.processing.keyed.records import LONGEST_KEY
from kappa.processing.store import NothingStored
from tests.unit.keyed_driver import batch

SCHEMA = pl.Schema({"account": pl.String(), "amount": pl.Int64()})


class Doer(KeyedProcessor):
    """Does what the test says, for the event's amount."""

    name, version = "doer", 1
    source = Source("things")
    key = "account"
    output = pl.Schema({"said": pl.String()})
    total = ValueState(int)

    def on_event(self, event: Any, ctx: Context) -> None:
        self.act(event.amount, ctx)

    def on_timer(self, at: int, ctx: Context) -> None:
        self.act(at, ctx)

    def act(self, number: int, ctx: Context) -> None:
        raise NotImplementedError


def fold_of(processor: KeyedProcessor, schema: pl.Schema = SCHEMA) -> KeyedFold:
    return processor.bind(schema).fold(anything, NothingStored())


def apply(fold: KeyedFold, *amounts: int, key: str = "k", first_offset: int = 0) -> Outcome:
    """Folds one record per amount, a millisecond apart."""
    frame = pl.DataFrame(
        {
            "account": [key for _ in amounts],
            "amount": amounts,
            "@offset": range(first_offset, first_offset + len(amounts)),
            "@timestamp": range(100, 100 + len(amounts)),
        },
        schema_overrides={"amount": pl.Int64},
    ).with_columns(
        pl.col("account").cast(pl.Binary).alias("@key"),
        pl.lit(0, pl.Int32).alias("@partition"),
        pl.col("amount").alias("at"),
    )
    return fold.apply(batch(0, frame), PartitionClock())


def test_a_handlers_exception_is_a_dead_letter_with_its_stack() -> None:
    class Divider(Doer):
        def act(self, number: int, ctx: Context) -> None:
            ctx.emit(said=str(10 // number))

    fold = fold_of(Divider())
    outcome = apply(fold, 1, 0, 2, 0)
    assert outcome.dead.schema == DEAD_SCHEMA
    assert outcome.dead["@offset"].to_list() == [1, 3]
    assert set(outcome.dead["error_class"]) == {"ZeroDivisionError"}
    stack = outcome.dead["stack"][0]
    assert "in act" in stack
    assert "processing/handlers.py" not in stack
    assert outcome.dead["timer"].null_count() == 2
    assert fold.flush().rows["_offset"].to_list() == [0, 2]


def test_a_timers_exception_is_a_letter_at_the_record_that_made_it_fire() -> None:
    class Late(Doer):
        def act(self, number: int, ctx: Context) -> None:
            if ctx.timer is None:
                self.total.set(number)
                ctx.set_processing_timer(ctx.processing_time + 1, "soon")
            else:
                self.total.clear()
                raise ValueError("no")

    fold = fold_of(Late())
    outcome = apply(fold, 5, 6)
    assert outcome.dead.select("@offset", "error_class", "message", "timer").rows() == [
        (1, "ValueError", "no", "processing-time timer 'soon' of 'k' at 101")
    ]
    state = fold.flush().state
    assert state is not None
    assert state["processing_timer"].to_list() == [102]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("half \ud800"), "half ?"),
        (ValueError("x" * 5_000), "x" * 2_000),
        (type("Mute", (Exception,), {"__str__": lambda self: 1 / 0})(), ""),
    ],
)
def test_whatever_an_exception_says_can_be_stored(error: Exception, message: str) -> None:
    class Raiser(Doer):
        def act(self, number: int, ctx: Context) -> None:
            raise error

    dead = apply(fold_of(Raiser()), 1).dead
    assert dead["message"].to_list() == [message]
    assert len(dead["stack"][0]) <= 20_000


def test_running_out_of_memory_is_no_dead_letter() -> None:
    class Hoarder(Doer):
        def act(self, number: int, ctx: Context) -> None:
            raise MemoryError

    with pytest.raises(MemoryError):
        apply(fold_of(Hoarder()), 1)


def test_a_handler_cannot_keep_anything_beside_its_states() -> None:
    class Forgetful(Doer):
        def act(self, number: int, ctx: Context) -> None:
            self.total = number  # type: ignore[assignment]

    (message,) = apply(fold_of(Forgetful()), 1).dead["message"]
    assert message == "a handler of doer set self.total, which a restart would lose"


def test_two_folds_of_one_processor_have_nothing_in_common() -> None:
    class Counter(Doer):
        def act(self, number: int, ctx: Context) -> None:
            self.total.set((self.total.get() or 0) + 1)
            ctx.emit(said=str(self.total.get()))

    processor = Counter()
    one, other = fold_of(processor), fold_of(processor)
    for fold in (one, other, one):
        apply(fold, 1)
    assert one.flush().rows["said"].to_list() == ["1", "2"]
    assert other.flush().rows["said"].to_list() == ["1"]


@pytest.mark.parametrize("use", ["event_time", "watermark", "set_event_timer"])
def test_using_event_time_where_there_is_none_is_no_records_fault(use: str) -> None:
    class Timeless(Doer):
        def act(self, number: int, ctx: Context) -> None:
            found = getattr(ctx, use)
            found(1)

    with pytest.raises(DeclarationError, match="doer version 1: its source has no event time"):
        apply(fold_of(Timeless()), 1)


def test_what_cannot_be_decoded_has_no_processing_time() -> None:
    """Its place in the batch is not known, so a batch of its own would tell another time."""

    class Teller(Doer):
        def act(self, number: int, ctx: Context) -> None:
            ctx.emit(said=str(ctx.processing_time))

    fold = fold_of(Teller())
    frame = pl.DataFrame(
        {"account": "k", "amount": 1, "@offset": 0, "@timestamp": 100, "@key": b"k"}
    ).with_columns(pl.lit(0, pl.Int32).alias("@partition"))
    outcome = fold.apply(replace(batch(0, frame), max_record_time=999), PartitionClock())
    assert fold.flush().rows["said"].to_list() == ["100"]
    assert outcome.clock.max_record_time == 100


def test_without_event_time_processing_timers_fire() -> None:
    class Ticker(Doer):
        def act(self, number: int, ctx: Context) -> None:
            ctx.emit(said=f"{ctx.timer} {ctx.processing_time}")
            if ctx.timer is None:
                ctx.set_processing_timer(ctx.processing_time + 2, f"t{number}")

    fold = fold_of(Ticker())
    apply(fold, 1, 2, 3)
    said = ["None 100", "None 101", "t1 102", "None 102"]
    assert fold.flush().rows["said"].to_list() == said


@pytest.mark.parametrize(
    ("at", "name", "message"),
    [
        (1.5, "", "1.5 is no time"),
        (True, "", "True is no time"),
        (2**63, "", "is no time"),
        (1, 7, "7 is no name of a timer"),
        (1, "\ud800", "is no name of a timer"),
        (1, "ä" * 101, "is no name of a timer"),
    ],
)
def test_a_timers_time_and_name_are_checked(at: Any, name: Any, message: str) -> None:
    class Setter(Doer):
        def act(self, number: int, ctx: Context) -> None:
            ctx.set_processing_timer(at, name)

    (found,) = apply(fold_of(Setter()), 1).dead["message"]
    assert message in found


def test_a_timer_cannot_set_itself_again_for_the_same_time() -> None:
    class Loop(Doer):
        source = Source("things", event_time="at")

        def act(self, number: int, ctx: Context) -> None:
            ctx.set_event_timer(number)

    dead = apply(fold_of(Loop(), pl.Schema({**SCHEMA, "at": pl.Int64()})), 7).dead
    assert dead["message"].to_list() == [
        "the timer '' has fired with this record for no earlier time (at=7, fired_at=7)"
    ]
    assert dead["timer"].to_list() == ["event-time timer '' of 'k' at 7"]


@pytest.mark.parametrize("back", [0, 3])
@pytest.mark.parametrize("kind", ["event", "processing"])
def test_timers_that_set_each_other_end(kind: str, back: int) -> None:
    """At every record anew: what fired with the one before is over."""
    following = {"": ("a", 0), "a": ("b", 0), "b": ("c", -back), "c": ("a", back)}

    class Loop(Doer):
        source = Source("things", event_time="at")

        def act(self, number: int, ctx: Context) -> None:
            ctx.emit(said=ctx.timer or "")
            name, further = following[ctx.timer or ""]
            getattr(ctx, f"set_{kind}_timer")(number + further, name)

    fold = fold_of(Loop(), pl.Schema({**SCHEMA, "at": pl.Int64()}))
    letters = [apply(fold, 7, first_offset=offset).dead for offset in range(3)]
    of_all = fold.flush().rows["said"].to_list()
    fired = ["a", "b"]  # c is taken back, as it raises
    assert (
        of_all
        == {
            "event": ["", *fired, "", *fired, "", *fired],
            "processing": ["", *fired, "", *fired, ""],
        }[kind]
    )
    timers = [letter for dead in letters for letter in dead["timer"]]
    assert timers == [f"{kind}-time timer 'c' of 'k' at {7 - back}"] * (3 if kind == "event" else 2)


def test_an_output_that_is_not_declared_is_refused() -> None:
    class Stray(Doer):
        def act(self, number: int, ctx: Context) -> None:
            ctx.emit_to("nowhere", said="x")

    (message,) = apply(fold_of(Stray()), 1).dead["message"]
    assert message == "doer version 1 declares no output 'nowhere'"


class Keys(Doer):
    def act(self, number: int, ctx: Context) -> None:
        ctx.emit(said=repr(ctx.key))


@pytest.mark.parametrize(
    ("dtype", "key", "value"),
    [
        (pl.String(), "a'b", '"a\'b"'),
        (pl.Int64(), "-7", "-7"),
        (pl.Boolean(), "true", "True"),
        (pl.Boolean(), "false", "False"),
    ],
)
def test_the_key_is_as_its_column_has_it(dtype: pl.DataType, key: str, value: str) -> None:
    fold = fold_of(Keys(), pl.Schema({"account": dtype, "amount": pl.Int64()}))
    column = pl.col("account") == "true" if dtype == pl.Boolean else pl.col("account").cast(dtype)
    texts = pl.DataFrame(
        {"account": [key], "amount": [1], "@partition": [0], "@offset": [0], "@timestamp": [0]}
    )
    frame = texts.with_columns(column, pl.col("account").cast(pl.Binary).alias("@key"))
    outcome = fold.apply(batch(0, frame), PartitionClock())
    assert outcome.dead.rows() == []
    assert fold.flush().rows["said"].to_list() == [value]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("a\0b", "the key holds NUL, which PostgreSQL cannot"),
        ("ä" * (LONGEST_KEY // 2) + "x", "the key is longer than 2,500 bytes"),
    ],
)
def test_a_key_that_cannot_be_stored_is_a_dead_letter(key: str, reason: str) -> None:
    assert apply(fold_of(Keys()), 1, key=key).dead["message"].to_list() == [reason]
