"""Timers that could not be set, or would not be heard, are found in the handlers' code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from kappa import Context, KeyedProcessor, Source
from kappa.errors import DeclarationError
from kappa.testing import Driver

SCHEMA = pl.Schema({"account": pl.String(), "amount": pl.Int64()})


class Deaf(KeyedProcessor):
    """Sets timers and would not hear them."""

    name, version = "deaf", 1
    source = Source("things")
    key = "account"
    output = pl.Schema({"said": pl.String()})
    way = "set_processing_timer"

    def on_event(self, event: Any, ctx: Context) -> None:
        getattr(ctx, self.way)(1)


def test_a_timer_without_a_handler_is_no_records_fault() -> None:
    with pytest.raises(DeclarationError, match="deaf version 1 sets a timer and has no on_timer"):
        Driver(Deaf, schema=SCHEMA).send({"account": "k", "amount": 1})


def remind(ctx: Context) -> None:
    ctx.set_event_timer(1)


def logged(handler: Callable[[Any, Any, Context], None]) -> Callable[[Any, Any, Context], None]:
    def on_event(self: Any, event: Any, ctx: Context) -> None:
        handler(self, event, ctx)

    return on_event


class Plainly(Deaf):
    def on_event(self, event: Any, ctx: Context) -> None:
        if event.amount:
            ctx.set_event_timer(1)


class ByItsOwnMethod(Deaf):
    def on_event(self, event: Any, ctx: Context) -> None:
        self.later(ctx)

    @staticmethod
    def later(ctx: Context) -> None:
        [ctx.set_event_timer(at) for at in range(2)]


class ByAFunction(Deaf):
    def on_event(self, event: Any, ctx: Context) -> None:
        remind(ctx)


class ByItsBase(Plainly):
    def on_event(self, event: Any, ctx: Context) -> None:
        super().on_event(event, ctx)


class Decorated(Deaf):
    @logged
    def on_event(self, event: Any, ctx: Context) -> None:
        ctx.set_event_timer(1)


class Tidy(Plainly):
    """Has nothing of what its base does."""

    def on_event(self, event: Any, ctx: Context) -> None:
        ctx.cancel_event_timer()


class OfTheSameName(Deaf):
    """Reads a column called as a function of the module is."""

    def on_event(self, event: Any, ctx: Context) -> None:
        ctx.emit(said=str(event.remind))


def heard(self: Any, at: int, ctx: Context) -> None: ...


@pytest.mark.parametrize("cls", [Plainly, ByItsOwnMethod, ByAFunction, ByItsBase, Decorated])
def test_timers_that_cannot_be_set_or_heard_are_found_at_load(cls: type[Deaf]) -> None:
    schema = pl.Schema({**SCHEMA, "at": pl.Int64()})
    timed = Source("things", event_time="at")
    with pytest.raises(DeclarationError, match="deaf version 1: a handler sets an ev") as refused:
        type("Hears", (cls,), {"on_timer": heard})().bind(schema)
    assert "set_processing_timer" in refused.value.hint
    with pytest.raises(DeclarationError, match="deaf version 1 sets a timer and has") as refused:
        type("Timed", (cls,), {"source": timed})().bind(schema)
    assert "on_timer(self, at, ctx)" in refused.value.hint
    type("Both", (cls,), {"source": timed, "on_timer": heard})().bind(schema)


def test_a_timer_that_a_timer_sets_is_found_too() -> None:
    def on_timer(self: Any, at: int, ctx: Context) -> None:
        ctx.set_event_timer(at + 1)

    with pytest.raises(DeclarationError, match="sets an event-time timer"):
        type("Again", (Deaf,), {"on_timer": on_timer})().bind(SCHEMA)


def test_what_no_handler_calls_is_not_looked_at() -> None:
    Tidy().bind(SCHEMA)
    OfTheSameName().bind(pl.Schema({**SCHEMA, "remind": pl.Int64()}))
