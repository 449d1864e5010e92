"""What may be sent where, under which promise; what cannot be kept is refused with the reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import polars as pl
import pytest

from kappa import (
    Count,
    KeyedProcessor,
    Projection,
    Session,
    Source,
    ToTopic,
    ToWebhook,
    Tumbling,
    WindowedAggregate,
)
from kappa.errors import DeclarationError
from kappa.processing.admission import anything
from kappa.processing.destinations import Destination
from kappa.tables.document import from_document, to_document
from kappa.tables.publication import Carries, Publication, TopicTarget, WebhookTarget
from kappa.testing.tables import Rows, Tables
from kappa.versions.layout import layout_of
from tests.integration.tables_scenes import revenue

SCHEMA = pl.Schema({"customer": pl.String(), "at": pl.Datetime("ms", "UTC")})
HOOK = ToWebhook("https://example.org/hook")


def lines(publish: Mapping[str, Any], latest_by: str | None = None) -> Projection:
    return Projection(
        name="lines",
        version=1,
        source=Source("orders"),
        columns=["customer"],
        latest_by=latest_by,
        publish=publish,
    )


def totals(publish: Mapping[str, Any], **options: Any) -> WindowedAggregate:
    return WindowedAggregate(
        **{
            "name": "totals",
            "version": 1,
            "source": Source("orders", event_time="at"),
            "key": ["customer"],
            "window": Tumbling("1m"),
            "aggregates": {"orders": Count()},
            "publish": publish,
            **options,
        }
    )


class Handled(KeyedProcessor):
    name, version = "handled", 1
    source = Source("orders", event_time="at")
    key = "customer"
    output: ClassVar = {"customer": pl.String()}
    outputs: ClassVar = {"alerts": {"customer": pl.String()}}

    def on_event(self, event: Any, ctx: Any) -> None:
        ctx.emit(customer=ctx.key)


def handled(publish: Mapping[str, Any]) -> KeyedProcessor:
    return type("Sent", (Handled,), {"publish": publish})()


def test_a_webhook_cannot_be_exactly_once() -> None:
    with pytest.raises(DeclarationError, match="nobody can tell") as refused:
        ToWebhook("http://localhost", guarantee="exactly_once")
    assert "Idempotency-Key" in refused.value.hint


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://example.org", "begins with http"),
        ("https://", "begins with http"),
        ("https://[::1/secret", "begins with http"),
        (None, "begins with http"),
        ("https://secret..example.org", "begins with http"),
        ("https://secret example.org", "begins with http"),
        (f"https://{'secret' * 11}.example.org", "begins with http"),
        ("https://me:secret@example.org", "must not hold a user or password"),
        ("https://example.org:99999/secret", "has a port that is none"),
        ("https://example.org:https/secret", "has a port that is none"),
        ("https://example.org:0/secret", "has a port that is none"),
        ("https://example.org/secret/größe", "characters that cannot be sent"),
        ("https://example.org/?secret=größe", "characters that cannot be sent"),
        ("https://example.org/a secret", "characters that cannot be sent"),
    ],
)
def test_urls_that_cannot_be_posted_to_or_hold_a_secret(url: Any, reason: str) -> None:
    with pytest.raises(DeclarationError, match=reason) as refused:
        ToWebhook(url)
    assert "secret" not in str(refused.value)
    assert refused.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "http://localhost:65535/a/b?c=d%20e&f=~#part",
        "https://müller.example/gr%C3%B6%C3%9Fe",
        "http://[::1]:8080/hook",
    ],
)
def test_urls_that_can_be_posted_to(url: str) -> None:
    assert ToWebhook(url).url == url


@pytest.mark.parametrize(
    "make",
    [
        lambda: ToTopic(""),
        lambda: ToTopic("t", partitions=0),
        lambda: ToTopic("t", partitions="4"),  # type: ignore[arg-type]
        lambda: ToTopic(None),  # type: ignore[arg-type]
        lambda: ToTopic("t", guarantee="twice"),  # type: ignore[arg-type]
        lambda: ToWebhook("http://localhost", retries=-1),
        lambda: ToWebhook("http://localhost", retries=None),  # type: ignore[arg-type]
        lambda: ToWebhook("http://localhost", timeout=1.5),  # type: ignore[arg-type]
    ],
)
def test_destinations_that_are_none(make: Any) -> None:
    with pytest.raises(DeclarationError) as refused:
        make()
    assert refused.value.hint


@pytest.mark.parametrize(
    ("declaration", "reason"),
    [
        (lines({"late": HOOK}), "has no output 'late'"),
        (lines({"main": HOOK}, "customer"), "the rows of 'main' change"),
        (lines({"main": ToTopic("orders")}), "the topic it is made from"),
        (lines({"main": "elsewhere"}), "goes to 'elsewhere'"),
        (totals({"main": HOOK}), "the rows of 'main' change"),
        (totals({"main": HOOK}, emit="final"), "the rows of 'main' change"),
        (totals({"late": HOOK}, window=None), "has no output 'late'"),
        (totals({"main": ToTopic("a"), "late": ToTopic("a")}), "two outputs go to the topic 'a'"),
        (handled({"others": HOOK}), "has no output 'others'"),
    ],
)
def test_outputs_that_cannot_be_sent_so(
    declaration: Projection | WindowedAggregate | KeyedProcessor, reason: str
) -> None:
    with pytest.raises(DeclarationError, match=reason):
        declaration.bind(SCHEMA, ["customer"], "customer")


@pytest.mark.parametrize(
    ("declaration", "carries"),
    [
        (lines({"main": HOOK}), {"main": Carries.RECORDS}),
        (lines({"main": ToTopic("a")}, "customer"), {"main": Carries.UPDATES}),
        (
            totals({"main": ToTopic("a"), "late": HOOK}),
            {"late": Carries.RECORDS, "main": Carries.UPDATES},
        ),
        (totals({"main": ToTopic("a")}, emit="final"), {"main": Carries.FINAL}),
        (totals({"main": ToTopic("a")}, window=Session("1m")), {"main": Carries.UPDATES}),
        (
            handled({"main": ToTopic("a"), "alerts": HOOK}),
            {"alerts": Carries.RECORDS, "main": Carries.RECORDS},
        ),
    ],
)
def test_what_an_output_carries_follows_from_its_kind(
    declaration: Projection | WindowedAggregate | KeyedProcessor, carries: dict[str, Carries]
) -> None:
    layout = layout_of(declaration.bind(SCHEMA, ["customer"], "customer"))
    assert {sent.output: sent.carries for sent in layout.publishes} == carries
    assert from_document(json.loads(json.dumps(to_document(layout)))) == layout


def test_rows_that_leave_as_they_come_have_their_records_key() -> None:
    tables = Tables(Rows(lambda rows: rows))
    plain = lines({}).bind(SCHEMA).fold(anything, tables)
    sent = lines({"main": HOOK}).bind(SCHEMA).fold(anything, tables)
    assert (plain.reads_keys, sent.reads_keys) == (False, True)
    assert "@key" not in plain.flush().rows.columns
    assert "@key" in sent.flush().rows.columns


def test_the_document_of_a_version_keeps_what_it_was_created_with() -> None:
    layout = replace(
        revenue("a"),
        publishes=(
            Publication(
                "late", Carries.RECORDS, "at_most_once", WebhookTarget("http://x", 3, 9, "T")
            ),
            Publication("main", Carries.UPDATES, "exactly_once", TopicTarget("t", 4, 17)),
        ),
    )
    document = json.loads(json.dumps(to_document(layout)))
    assert from_document(document) == layout
    del document["publishes"]
    assert from_document(document).publishes == ()


def test_a_declaration_without_outputs_is_what_it_always_was() -> None:
    publish: Mapping[str, Destination] = lines({}).publish
    assert publish == {}
