"""Promotes over logs that end in what is never delivered, or begin with nothing."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import NewPartitions

from kappa.errors import NotCaughtUp, TopicRecreated
from kappa.operations.promote import Options, Persistence, plan, promote, rollback
from tests.faults import Site, wait_until
from tests.integration.kafka_scenes import admin, producer
from tests.integration.test_promote import active
from tests.readings import TOTALS, good, readings

TWO = TOTALS + "\nfrom dataclasses import replace\nsecond = replace(processor, version=2)\n"
IMPATIENT = Persistence(deadline_s=1, unread_s=0, drain_after=None)


def open_shop(site: Site, partitions: int = 2) -> tuple[str, str]:
    """A topic, and a processor of two versions over it."""
    topic = site.topic(partitions)
    return topic, site.processor(TWO, topic, ("processor", "second"))


def publish(site: Site, topic: str, count: int, partitions: int = 2, **config: object) -> None:
    """Records in turn to the partitions; with a configuration, by such a producer."""
    schema_id = site.schema_id(topic)
    records = [
        good(schema_id, n % partitions, one) for n, one in enumerate(readings(count, seed=count))
    ]
    site.publish(topic, records, producer(site.kafka, **config) if config else None)


def in_transaction(site: Site, topic: str, name: str) -> object:
    """A producer with records in an open transaction."""
    client = producer(site.kafka, transactional_id=name, linger_ms=0)
    client.init_transactions(30)
    client.begin_transaction()
    schema_id = site.schema_id(topic)
    records = [good(schema_id, n % 2, one) for n, one in enumerate(readings(8, seed=8))]
    site.publish(topic, records, client)
    return client


@pytest.mark.parametrize("end", ["commit_transaction", "abort_transaction"])
def test_the_log_ends_in_a_marker(site: Site, end: str) -> None:
    """Both versions go past it, although it is never delivered."""
    topic, name = open_shop(site)
    publish(site, topic, 10)
    getattr(in_transaction(site, topic, f"{name}-{end}"), end)(30)
    for version in (1, 2):
        site.replay(name, version=version)
        promote(site.settings, {name: version}, persistence=IMPATIENT)
    assert active(site.engine, name) == 2
    assert site.positions(name) == site.ends(topic)


def test_an_open_transaction_holds_both_versions_at_the_same_place(site: Site) -> None:
    """What comes after it is not read before it ends, by neither."""
    topic, name = open_shop(site)
    publish(site, topic, 10)
    client = in_transaction(site, topic, f"{name}-open")
    publish(site, topic, 4)
    site.replay(name, version=1)
    promote(site.settings, {name: 1}, persistence=IMPATIENT)
    site.replay(name, version=2)
    promote(site.settings, {name: 2}, persistence=IMPATIENT)
    client.commit_transaction(30)  # type: ignore[attr-defined]
    site.replay(name, version=2)
    with pytest.raises(NotCaughtUp):
        promote(site.settings, {name: 1}, persistence=IMPATIENT)
    site.replay(name, version=1)
    promote(site.settings, {name: 1}, persistence=IMPATIENT)
    assert active(site.engine, name) == 1


def test_partitions_without_a_record_are_caught_up(site: Site) -> None:
    topic, name = open_shop(site, 3)
    publish(site, topic, 6, partitions=1)
    for version in (1, 2):
        site.replay(name, version=version)
        promote(site.settings, {name: version}, persistence=IMPATIENT)
    assert active(site.engine, name) == 2


def test_a_partition_added_since_must_be_read_by_both(site: Site) -> None:
    """Version 1 has read it and served it: version 2, which was built before, has to as well."""
    topic, name = open_shop(site)
    publish(site, topic, 6)
    site.replay(name, version=2)
    client = admin(site.kafka)
    for future in client.create_partitions([NewPartitions(topic, 3)]).values():
        future.result(30)
    publish(site, topic, 9, partitions=3, linger_ms=0)  # by one that knows it
    site.replay(name, version=1)
    promote(site.settings, {name: 1}, persistence=IMPATIENT)
    with pytest.raises(NotCaughtUp):
        promote(site.settings, {name: 2}, persistence=IMPATIENT)
    site.replay(name, version=2)
    promote(site.settings, {name: 2}, persistence=IMPATIENT)
    assert active(site.engine, name) == 2


def test_a_topic_made_anew_is_no_way_forward_unless_that_is_meant(site: Site) -> None:
    topic, name = open_shop(site)
    publish(site, topic, 6)
    site.replay(name, version=1)
    promote(site.settings, {name: 1}, persistence=IMPATIENT)
    client = admin(site.kafka)
    for future in client.delete_topics([topic]).values():
        future.result(30)
    wait_until("it is gone", lambda: topic not in client.list_topics(timeout=10).topics)
    site.create(topic, 2)
    publish(site, topic, 40)
    site.replay(name, version=2)
    with pytest.raises(TopicRecreated) as caught:
        promote(site.settings, {name: 2}, persistence=IMPATIENT)
    assert active(site.engine, name) == 1
    assert caught.value.hint.endswith(f"kappa promote {name}@2 --drop-source {topic}")
    meant = Options(dropped_sources=frozenset({topic}))
    (planned,) = plan(site.settings, {name: 2}, options=meant)
    assert planned.refusal is None
    assert [(at.from_offset, at.to_offset) for at in planned.partitions if at.to_offset] == [
        (None, 20),
        (None, 20),
    ]
    promote(site.settings, {name: 2}, options=meant, persistence=IMPATIENT)
    served = site.query(
        "SELECT s.partition, s.next_offset FROM kappa_served AS s JOIN kappa_offset AS o"
        " USING (processor, topic, topic_id, partition)"
        " WHERE s.processor = :p AND o.version = 2",
        p=name,
    )
    assert dict(map(tuple, served)) == site.ends(topic)
    counted = site.query("SELECT count(*) FROM kappa_served WHERE processor = :p", p=name)
    assert counted == [(2,)], "nothing is left of the former one"
    (last,) = site.query(
        "SELECT detail FROM kappa_history WHERE processor = :p AND to_version = 2", p=name
    )
    assert last[0]["dropped_sources"] == [topic]
    with pytest.raises(TopicRecreated) as caught:
        rollback(site.settings, (name,), persistence=IMPATIENT)
    assert caught.value.hint.endswith(f"kappa rollback {name} --drop-source {topic}")
    rollback(site.settings, (name,), options=meant, persistence=IMPATIENT)
    assert active(site.engine, name) == 1
