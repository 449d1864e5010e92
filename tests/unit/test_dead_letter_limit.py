"""What a limit of dead letters may be, and where it may stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from kappa import Count, DeadLetterLimit, KeyedProcessor, Projection, Source, WindowedAggregate
from kappa.errors import DeclarationError

SCHEMA = pl.Schema({"account": pl.String(), "at": pl.Int64()})
SOURCE = Source("payments", event_time="at")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"count": -1}, "count is -1"),
        ({"count": 1.5}, "count is 1.5"),
        ({"count": True}, "count is True"),
        ({"rate": 1.01}, "rate is 1.01"),
        ({"rate": -0.1}, "rate is -0.1"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"rate": "1%"}, "rate is '1%'"),
        ({"rate_from": -1}, "rate_from is -1"),
        ({"rate_from": None}, "rate_from is None"),
    ],
)
def test_what_is_no_limit_is_refused(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        DeadLetterLimit(**changes)
    assert word in caught.value.message
    assert caught.value.hint


def projection(**more: Any) -> Projection:
    return Projection(name="lines", version=1, source=SOURCE, columns=["account"], **more)


def aggregate(**more: Any) -> WindowedAggregate:
    return WindowedAggregate(
        name="counts",
        version=1,
        source=SOURCE,
        key=["account"],
        window=None,
        aggregates={"payments": Count()},
        **more,
    )


def keyed(**more: Any) -> KeyedProcessor:
    declared = {
        "name": "alerts",
        "version": 1,
        "source": SOURCE,
        "key": "account",
        "output": {"account": pl.String()},
        "on_event": lambda self, event, ctx: None,
        **more,
    }
    cls: type[KeyedProcessor] = type("Alerts", (KeyedProcessor,), declared)
    return cls()


@pytest.mark.parametrize("kind", [projection, aggregate, keyed])
def test_every_kind_has_a_limit(kind: Callable[..., Any]) -> None:
    assert kind().bind(SCHEMA).declaration.max_dead_letters == DeadLetterLimit()
    of_two = DeadLetterLimit(count=2)
    assert kind(max_dead_letters=of_two).bind(SCHEMA).declaration.max_dead_letters == of_two
    with pytest.raises(DeclarationError, match="max_dead_letters is a int"):
        kind(max_dead_letters=2).bind(SCHEMA)
