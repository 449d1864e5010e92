"""What a keyed processor must declare, and what its errors say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from kappa import ListState, MapState, Source, ValueState
from kappa.errors import DeclarationError
from kappa.processing.keyed.context import Context
from kappa.processing.keyed.declaration import KeyedProcessor

SCHEMA = pl.Schema({"account": pl.String(), "amount": pl.Float64(), "at": pl.Datetime("ms", "UTC")})


class Sums(KeyedProcessor):
    name, version = "sums", 1
    source = Source("payments", event_time="at")
    key = "account"
    output = pl.Schema({"total": pl.Float64()})

    def on_event(self, event: Any, ctx: Context) -> None:
        ctx.emit(total=event.amount)


def declared(**changes: object) -> KeyedProcessor:
    """``Sums`` with these attributes instead of, or beside, its own."""
    cls: type[KeyedProcessor] = type("Sums", (Sums,), changes)
    return cls()


def test_a_bound_processor_says_what_it_is_made_of() -> None:
    processor = declared(
        columns=[pl.col("amount").round().alias("euros")],
        outputs={"odd": {"amount": pl.Float64}},
        seen=ValueState(bool),
        recent=ListState(float, ttl="1m"),
        by_day=MapState(int, float),
    )
    bound = processor.bind(SCHEMA, (), "account")
    assert list(bound.columns) == ["euros"]
    assert bound.output == {"total": pl.Float64()}
    assert bound.outputs == {"odd": {"amount": pl.Float64()}}
    assert bound.key_type == pl.String
    assert bound.state_schema == (
        "format 1\n"
        "by_day: map of int to float\n"
        "recent: list of float, ttl 60000 ms\n"
        "seen: value of bool"
    )


def test_all_columns_are_seen_unless_some_are_named() -> None:
    assert list(Sums().bind(SCHEMA).columns) == ["account", "amount", "at"]


def test_states_are_inherited_and_may_be_made_with_the_processor() -> None:
    class Limited(Sums):
        limit = ValueState(int)

        def __init__(self) -> None:
            self.own = ListState(int)

    class Stricter(Limited):
        stricter = ValueState(int)

    assert list(Stricter().bind(SCHEMA).states) == ["limit", "stricter", "own"]


async def _later(self: object, event: object, ctx: object) -> None: ...


def _in_parts(self: object, at: int, ctx: object) -> Iterator[int]:
    yield at


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "Sums version 1 declares no name"),
        ({"version": 0}, "sums version 0 declares no version"),
        ({"source": None}, "sums version 1 declares no source"),
        ({"source": "payments"}, "sums version 1: source is a str"),
        ({"source": Source}, "sums version 1: source is the class Source"),
        ({"key": None}, "declares no key"),
        ({"key": pl.col("account")}, "sums version 1: key is a Expr"),
        ({"columns": "amount"}, "sums version 1: columns is a str"),
        ({"columns": [7]}, "sums version 1, columns: 7 is no column"),
        ({"key": "nothing"}, "the source has no column 'nothing' to be the key"),
        ({"key": "amount"}, "the key 'amount' is of type Float64"),
        ({"output": None}, "declares no output"),
        ({"output": {}}, "sums version 1, output has no columns"),
        ({"output": {"aB": pl.String()}}, "'aB' cannot be a column's name"),
        ({"output": {"a": "text"}}, "the type of 'a' is 'text'"),
        ({"output": {"a": pl.Datetime("ns")}}, "column 'a': a handler cannot emit values"),
        ({"output": {"a": pl.Duration()}}, "column 'a': a handler cannot emit values"),
        ({"outputs": {"odd": ["amount"]}}, "sums version 1, output 'odd' is a list"),
        ({"outputs": {"odd": {}}}, "sums version 1, output 'odd' has no columns"),
        ({"columns": ["nothing"]}, "no column 'nothing'"),
        ({"columns": [pl.col("amount").shift()]}, "looks at other records"),
        ({"columns": {"from": "amount"}}, "an event cannot have an attribute 'from'"),
        ({"columns": {"_a": "amount"}}, "an event cannot have an attribute '_a'"),
        ({"on_event": KeyedProcessor.on_event}, "sums version 1 has no on_event"),
        ({"on_event": _later}, "_later would not run when it is called"),
        ({"on_timer": _in_parts}, "_in_parts would not run when it is called"),
        (
            {"source": Source("payments"), "seen": ValueState(int, ttl="1m")},
            "state 'seen': a ttl needs event time",
        ),
        ({"source": Source("payments", event_time="amount")}, "the event time 'amount' is of type"),
        ({"seen": ValueState("text")}, "state 'seen': 'text' cannot be stored"),
        ({"seen": ValueState(list)}, "state 'seen': a value of type list could be changed"),
        ({"seen": ListState(dict)}, "state 'seen': a value of type dict could be changed"),
        ({"seen": MapState(str, set)}, "state 'seen': a value of type set could be changed"),
        ({"seen": MapState(float, int)}, "'float'> cannot be the type of a map's keys"),
    ],
)
def test_declaration_errors(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DeclarationError, match=message) as error:
        declared(**changes).bind(SCHEMA)
    assert error.value.hint


def test_the_key_must_be_the_topics_record_key() -> None:
    with pytest.raises(DeclarationError, match="the record key of 'payments' is 'region'"):
        Sums().bind(SCHEMA, (), "region")


@pytest.mark.parametrize("ttl", [0, "0s"])
def test_a_ttl_lasts_for_some_time(ttl: int | str) -> None:
    with pytest.raises(DeclarationError, match="is zero") as refused:
        ValueState(int, ttl=ttl)
    assert "7d" in refused.value.hint
    with pytest.raises(DeclarationError, match="is beyond all dates"):
        ValueState(int, ttl=10**18)
