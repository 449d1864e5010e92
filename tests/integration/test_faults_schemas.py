"""Schemas that came past the checks, or not at all: a replay halts, and skips no record."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from kappa.avro import schema as avro
from kappa.errors import IncompatibleSchema, KappaError, UnknownSchema
from kappa.registry.topic import value_subject
from tests.conftest import Finished
from tests.faults import Site
from tests.readings import (
    SCHEMA,
    START_MS,
    TOTALS,
    Reading,
    Sent,
    Unsent,
    encoded,
    expected_totals,
    good,
    readings,
)

COUNT = 40


def with_value(type_: object) -> dict[str, Any]:
    """The schema with its value of another type."""
    fields = [f for f in SCHEMA["fields"] if f["name"] != "value"]
    return {**SCHEMA, "fields": [*fields, {"name": "value", "type": type_}]}


INCOMPATIBLE = with_value("string")


def wordy(schema_id: int) -> Unsent:
    """A record of the incompatible schema."""
    fields: dict[str, Any] = {"sensor": "s1", "code": 1, "value": "much", "at": START_MS}
    return Unsent(0, b"s1", encoded(schema_id, Reading(**fields), INCOMPATIBLE))


def filled(site: Site, seed: int = 5) -> tuple[str, list[Sent]]:
    """A topic of one partition with good readings, and those."""
    topic = site.topic()
    schema_id = site.schema_id(topic)
    return topic, site.publish(
        topic, [good(schema_id, 0, reading) for reading in readings(COUNT, seed=seed)]
    )


def built(site: Site, topic: str) -> str:
    """A processor over the topic with a version that is built."""
    name = site.processor(TOTALS, topic)
    assert site.replay(name).state == "ready"
    return name


_IDS = itertools.count(1000)
LAST_ID = 2**31 - 1


def free_id() -> int:
    """An id that no registry of these tests has given away."""
    return next(_IDS)


def place(error: KappaError) -> tuple[object, ...]:
    """The record that the error is about."""
    return tuple(error.detail[name] for name in ("topic", "partition", "offset"))


def test_an_incompatible_schema_is_refused_before_a_version_is_recorded(
    site: Site, kappa: Callable[..., Finished]
) -> None:
    topic, sent = filled(site)
    name = site.processor(TOTALS, topic)
    number = free_id()
    site.force_schema(topic, INCOMPATIBLE, 2, number)
    with pytest.raises(IncompatibleSchema, match="value") as caught:
        site.replay(name)
    assert caught.value.detail["subject"] == value_subject(topic)
    assert site.everything(name) == ([], [], {}, [])
    done = kappa("replay", name, env=site.environment)
    assert done.code == 4, done.err
    assert "value" in done.err
    assert site.everything(name) == ([], [], {}, [])

    site.force_schema(topic, INCOMPATIBLE, 2, number, deleted=True)
    assert site.replay(name).records == len(sent)
    assert site.totals(name) == expected_totals(sent)[0]


def test_a_record_of_an_incompatible_schema_changes_no_row(site: Site) -> None:
    topic, _ = filled(site)
    name = built(site, topic)
    before = site.everything(name)
    number = free_id()
    site.force_schema(topic, INCOMPATIBLE, 2, number)
    assert site.replay(name).records == 0  # nothing was written with it yet
    schema_id = site.registry.versions(value_subject(topic))[0].schema_id
    more = [good(schema_id, 0, reading) for reading in readings(9, seed=6)]
    site.publish(topic, [*more, wordy(number), *more])
    for _ in range(2):
        with pytest.raises(IncompatibleSchema, match="value") as caught:
            site.replay(name)
        assert place(caught.value) == (topic, 0, COUNT + len(more))
        assert site.everything(name) == before


@pytest.mark.parametrize("batch_size", [1, 4])
def test_what_lies_before_it_is_right_and_nothing_is_skipped(site: Site, batch_size: int) -> None:
    topic, sent = filled(site)
    name = built(site, topic)
    schema_id = site.schema_id(topic)
    number = free_id()
    site.force_schema(topic, INCOMPATIBLE, 2, number)
    more = [good(schema_id, 0, reading) for reading in readings(3 * batch_size, seed=7)]
    sent += site.publish(topic, more)
    site.publish(topic, [wordy(number), *more])
    for _ in range(2):
        with pytest.raises(IncompatibleSchema):
            site.replay(name, batch_size)
        assert site.positions(name) == {0: len(sent)}
        assert site.totals(name) == expected_totals(sent)[0]
        assert not site.letters(name)


@pytest.mark.parametrize("number", [free_id(), LAST_ID])
def test_an_unknown_schema_id_halts_until_it_is_registered(site: Site, number: int) -> None:
    topic, sent = filled(site)
    name = built(site, topic)
    before = site.everything(name)
    schema_id = site.schema_id(topic)
    first, second, third = (
        site.publish(topic, [good(one, 0, reading) for reading in readings(5, seed=seed)])
        for seed, one in enumerate((schema_id, number, schema_id))
    )
    with pytest.raises(UnknownSchema) as caught:
        site.replay(name)
    assert caught.value.detail["schema_id"] == number
    assert place(caught.value) == (topic, 0, COUNT + len(first))
    assert site.everything(name) == before
    for _ in range(2):
        with pytest.raises(UnknownSchema):
            site.replay(name, 1)
        assert site.positions(name) == {0: len(sent) + len(first)}
        assert site.totals(name) == expected_totals(sent + first)[0]
    if number == LAST_ID:
        return  # registered, it would leave none for others

    site.force_schema(topic, SCHEMA, 2, number)
    assert site.replay(name).records == len(second) + len(third)
    sent += first + second + third
    rows, expected = expected_totals(sent)
    assert (site.totals(name), site.late(name)) == (rows, expected.late)
    assert not site.letters(name)


def test_a_build_halts_at_an_unknown_schema_id_and_goes_on(site: Site) -> None:
    topic, sent = filled(site)
    name = site.processor(TOTALS, topic)
    number = free_id()
    sent += site.publish(topic, [good(number, 0, reading) for reading in readings(9, seed=8)])
    with pytest.raises(UnknownSchema):
        site.replay(name, 8)
    state, _, partitions, letters = site.everything(name)
    assert (state, letters) == ([("building",)], [])
    assert partitions[0].next_offset == COUNT  # type: ignore[index]
    site.force_schema(topic, SCHEMA, 2, number)
    assert site.replay(name, 8).state == "ready"
    rows, expected = expected_totals(sent)
    assert (site.totals(name), site.late(name)) == (rows, expected.late)


def test_a_wider_schema_registered_in_good_order_is_read_with_the_old_one(site: Site) -> None:
    topic, sent = filled(site)
    name = built(site, topic)
    unit = {"name": "unit", "type": "string", "default": "K"}
    wider = {**SCHEMA, "fields": [*SCHEMA["fields"], unit]}
    number = site.registry.register(value_subject(topic), avro.parse(wider)).schema_id
    for reading in readings(9, seed=9):
        value = encoded(number, reading) + b"\2C"  # the new field comes last
        sent += site.publish(topic, [Unsent(0, reading.sensor.encode(), value, reading)])
    assert site.replay(name).records == 9
    assert site.totals(name) == expected_totals(sent)[0]
