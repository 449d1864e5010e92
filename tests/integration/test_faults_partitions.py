"""Partitions added to a topic: sums read them from zero, the latest row per key refuses."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import NewPartitions

from kappa.errors import PartitionsChanged
from kappa.operations.replay import DEFAULT_BATCH_SIZE
from tests.faults import Interrupted, Site, wait_until
from tests.integration.kafka_scenes import admin, producer
from tests.readings import LATEST, TOTALS, Sent, expected_totals, good, readings


def add_partitions(site: Site, topic: str, total: int) -> None:
    client = admin(site.kafka)
    client.create_partitions([NewPartitions(topic, total)])[topic].result(20)
    wait_until("the new partitions", lambda: len(site.ends(topic)) == total)


def publish(site: Site, topic: str, partitions: range, seed: int) -> list[Sent]:
    schema_id = site.schema_id(topic)
    return site.publish(
        topic,
        [
            good(schema_id, partitions[number % len(partitions)], reading)
            for number, reading in enumerate(readings(60, seed=seed))
        ],
        producer(site.kafka),  # one that learns of the topic's partitions now
    )


def check_totals(site: Site, name: str, sent: list[Sent]) -> None:
    rows, expected = expected_totals(sent)
    assert (site.totals(name), site.late(name)) == (rows, expected.late)


@pytest.mark.parametrize("batch_size", [5, DEFAULT_BATCH_SIZE])
def test_an_aggregate_reads_new_partitions_from_zero(site: Site, batch_size: int) -> None:
    topic = site.topic(2)
    sent = publish(site, topic, range(2), seed=1)
    name = site.processor(TOTALS, topic)
    site.replay(name, batch_size)
    add_partitions(site, topic, 5)
    assert site.replay(name, batch_size).records == 0
    sent += publish(site, topic, range(5), seed=2)
    assert site.replay(name, batch_size).records == 60
    assert site.positions(name) == site.ends(topic)
    check_totals(site, name, sent)
    fresh = site.processor(TOTALS, topic)
    site.replay(fresh, batch_size)
    check_totals(site, fresh, sent)


def test_partitions_added_in_the_middle_of_a_build(site: Site) -> None:
    topic = site.topic(2)
    sent = publish(site, topic, range(2), seed=3)
    name = site.processor(TOTALS, topic)
    with pytest.raises(Interrupted):
        site.replay(name, 5, stop_after=10)
    add_partitions(site, topic, 4)
    sent += publish(site, topic, range(2, 4), seed=4)
    assert site.replay(name).state == "ready"
    assert site.positions(name) == site.ends(topic)
    check_totals(site, name, sent)


def test_the_latest_row_per_key_refuses_other_partitions(site: Site) -> None:
    topic = site.topic(2)
    publish(site, topic, range(1), seed=5)
    built = site.processor(LATEST, topic)
    site.replay(built)
    halfway = site.processor(LATEST, topic)
    with pytest.raises(Interrupted):
        site.replay(halfway, 5, stop_after=10)
    add_partitions(site, topic, 3)
    for name in (built, halfway):
        before = site.everything(name)
        with pytest.raises(PartitionsChanged) as caught:
            site.replay(name)
        assert caught.value.detail == {"topic": topic, "then": 2, "now": 3}
        assert "new version" in caught.value.hint
        assert site.everything(name) == before
