"""What a windowed aggregate must declare, and what its errors say."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from kappa import (
    Count,
    CountDistinct,
    Max,
    Merged,
    Session,
    Source,
    Sum,
    ToTopic,
    Tumbling,
    WindowedAggregate,
)
from kappa.errors import DeclarationError

SCHEMA = pl.Schema({"at": pl.Datetime("ms", "UTC"), "product": pl.String(), "amount": pl.Float64()})


def totals(**changes: Any) -> WindowedAggregate:
    declared: dict[str, Any] = {
        "name": "totals",
        "version": 1,
        "source": Source("orders", event_time="at"),
        "key": ["product"],
        "window": Tumbling("1m"),
        "aggregates": {"orders": Count()},
    }
    return WindowedAggregate(**declared | changes)


def own(columns: Any) -> Merged:
    return Merged(columns, partial=len, merge=max, finalize=int, result=pl.Int64)


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"name": ""}, "WindowedAggregate version 1 declares no name", 'name="revenue"'),
        ({"version": "1"}, "totals version 1: version is a str", "version=1"),
        ({"version": True}, "totals version True: version is a bool", "version=1"),
        ({"source": "orders"}, "totals version 1: source is a str", 'source=Source("orders"'),
        ({"source": Source}, "source is the class Source", 'source=Source("orders"'),
        (
            {"source": Source("orders")},
            "totals version 1: the source 'orders' has no",
            "event_time",
        ),
        ({"source": Source("orders", event_time="when")}, "event time 'when' is no column", "at, "),
        ({"source": Source("orders", event_time="product")}, "'product' is of type String", "Avro"),
        ({"window": "1m"}, "totals version 1: window is a str", 'window=Tumbling("1m")'),
        (
            {"window": Tumbling},
            "totals version 1: window is the class Tumbling",
            "window=Tumbling(",
        ),
        ({"key": "product"}, "totals version 1: key is a str", 'key=["product"]'),
        ({"key": pl.col("product")}, "totals version 1: key is a Expr", 'key=["product"]'),
        ({"key": [7]}, "totals version 1, key: 7 is no column", "pl.col"),
        ({"key": {"p": 7}}, "totals version 1, key 'p': 7 is no column", "pl.col"),
        ({"key": {7: "product"}}, "totals version 1: 7 cannot be a column's name", "text"),
        ({"key": ["nothing"]}, "totals version 1, key 'nothing': the source has no", "at, product"),
        ({"key": [pl.col("product") + 1.5]}, "totals version 1, key 'product': .* not fit", "cast"),
        ({"key": [pl.all()]}, "totals version 1, key: .* several columns", "one column each"),
        ({"key": ["product", "product"]}, "totals version 1, key: .* 'product' .* twice", "alias"),
        ({"key": [], "window": None}, "totals version 1 declares no key", "name a column"),
        ({"key": [], "window": Session("1m")}, "totals version 1 declares no key", "name a column"),
        ({"aggregates": {}}, "totals version 1 declares no aggregates", "aggregates={"),
        ({"aggregates": [Count()]}, "totals version 1: aggregates is a list", "aggregates={"),
        (
            {"aggregates": {"n": Count}},
            "totals version 1, aggregate 'n' is the class Count",
            "Count(",
        ),
        ({"aggregates": {"n": "n"}}, "totals version 1, aggregate 'n' is a str", "Count()"),
        (
            {"aggregates": {"x": Sum(7)}},
            "totals version 1, aggregate 'x': 7 is no column",
            "pl.col",
        ),
        ({"aggregates": {"x": own([7])}}, "aggregate 'x': Merged, columns: 7 is no col", "pl.col"),
        (
            {"aggregates": {"x": own(["at", "at"])}},
            "aggregate 'x': Merged, columns: .*twice",
            "alias",
        ),
        (
            {"aggregates": {"x": Count(where="amount")}},
            "'x', where: 'amount' is no column",
            "pl.col",
        ),
        (
            {"aggregates": {"x": Count(where=pl.col("amount"))}},
            "totals version 1, aggregate 'x', where is of type Float64, not a condition",
            "where=pl.col",
        ),
        ({"aggregates": {"x": Sum("product")}}, "totals version 1: Sum 'x' needs a number", "cast"),
        (
            {"aggregates": {"x": Sum(pl.col("at").shift())}},
            "aggregate 'x': .* other records",
            "own",
        ),
        (
            {"aggregates": {"x": Max(pl.col("amount") > 1)}},
            "totals version 1: Max 'x' cannot order values of type Boolean",
            "use a number",
        ),
        (
            {"aggregates": {"window_start": Count()}},
            "totals version 1: the column 'window_start' would come twice",
            "rename",
        ),
        (
            {"aggregates": {"product": Count()}},
            "totals version 1: the column 'product' would come twice",
            "rename",
        ),
        ({"emit": None}, "totals version 1 declares no emit", 'emit="updates"'),
        ({"emit": "later"}, "totals version 1: emit is 'later'", 'emit="final"'),
        ({"emit": "final", "window": None}, "totals version 1: emit is 'final', but", "window"),
        (
            {"emit": "final", "idle_after": "1m", "window": Session("1m")},
            "totals version 1: idle_after does not go with sessions",
            "leave it out",
        ),
        ({"idle_after": "1m"}, "totals version 1: idle_after says when", 'emit="final"'),
        ({"max_dead_letters": 2}, "totals version 1: max_dead_letters is a int", "count=100"),
        ({"publish": ToTopic("t")}, "totals version 1: publish is a ToTopic", 'publish={"main"'),
    ],
)
def test_declaration_errors_name_processor_field_and_remedy(
    changes: dict[str, object], message: str, hint: str
) -> None:
    with pytest.raises(DeclarationError, match=message) as refused:
        totals(**changes).bind(SCHEMA)
    assert hint in refused.value.hint


DISTINCT = {"buyers": CountDistinct("amount")}


@pytest.mark.parametrize(
    ("changes", "record_key", "column"),
    [
        ({}, "amount", None),  # SQL merges rows of any partition
        ({"window": Session("1m")}, None, "product"),
        ({"window": Session("1m")}, "product", "product"),
        ({"aggregates": DISTINCT}, None, "product"),
        ({"aggregates": DISTINCT, "key": {"article": "product"}}, "product", "article"),
        ({"aggregates": DISTINCT, "key": ["at", "product"]}, "product", "product"),
    ],
)
def test_what_is_kept_per_record_key_is_grouped_by_it(
    changes: dict[str, Any], record_key: str | None, column: str | None
) -> None:
    bound = totals(**changes).bind(SCHEMA, (), record_key)
    assert bound.record_key == column
    assert bound.keyed == (column is not None)


@pytest.mark.parametrize(
    ("kept", "what"),
    [({"aggregates": DISTINCT}, "aggregate 'buyers'"), ({"window": Session("1m")}, "a session")],
)
@pytest.mark.parametrize(
    ("key", "record_key", "message", "hint"),
    [
        (["product", "at"], None, "{what} is kept per record key, and the topic", "with --key"),
        (["product"], "customer", "the record key 'customer' is not among", "{what} needs all its"),
        ([pl.col("product").str.head(1)], None, "'product' is not among", "add 'product' to key"),
        (["amount"], "amount", "the key 'amount' is of type Float64", "a record key is text"),
    ],
)
def test_what_is_kept_per_record_key_cannot_be_grouped_without_it(
    kept: dict[str, Any], what: str, key: list[Any], record_key: str | None, message: str, hint: str
) -> None:
    with pytest.raises(DeclarationError, match=r"^totals version 1: ") as refused:
        totals(**kept, key=key).bind(SCHEMA, (), record_key)
    assert message.format(what=what) in str(refused.value)
    assert hint.format(what=what) in refused.value.hint


def test_what_is_kept_per_record_key_needs_a_key() -> None:
    with pytest.raises(DeclarationError, match="totals version 1: aggregate 'buyers'") as refused:
        totals(aggregates=DISTINCT, key=[]).bind(SCHEMA, (), "product")
    assert "name the topic's key column" in refused.value.hint
