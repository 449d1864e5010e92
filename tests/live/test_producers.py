"""Producers that get in each other's way, and partitions that are added, while a version runs."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import KafkaException, Producer

from tests.faults import Site, wait_until
from tests.integration.kafka_scenes import producer
from tests.integration.test_faults_partitions import add_partitions
from tests.live.invariants import check
from tests.live.scenes import Scene
from tests.readings import LATEST, START_MS, Reading, good


def transactional(site: Site, name: str) -> Producer:
    client = producer(site.kafka, transactional_id=name, linger_ms=0)
    client.init_transactions(30)
    return client


def test_of_two_producers_with_one_transactional_id_one_is_heard(
    scene: Callable[..., Scene],
) -> None:
    here = scene()
    here.run()
    here.publish()
    schema_id = here.site.schema_id(here.topic)
    records = [good(schema_id, n % 3, Reading(f"s{n}", 1, 2.0, START_MS)) for n in range(30)]
    first = transactional(here.site, here.name)
    first.begin_transaction()
    here.site.publish(here.topic, records, first)
    second = transactional(here.site, here.name)
    second.begin_transaction()
    here.sent += here.site.publish(here.topic, records, second)
    second.commit_transaction(30)
    try:
        first.commit_transaction(30)
    except KafkaException:
        pass
    else:
        raise AssertionError("both producers could commit")
    here.publish()
    check(here)


def test_sums_go_on_over_new_partitions_and_say_what_that_means(
    scene: Callable[..., Scene],
) -> None:
    here = scene()
    run = here.run()
    here.publish()
    here.catch_up()
    add_partitions(here.site, here.topic, 12)
    here.publish()
    here.partitions = 12
    here.site.producer = producer(here.site.kafka, linger_ms=0)  # learns of them now
    here.publish(120)
    here.catch_up()
    assert len(run.events("the topic has new partitions")) >= 1
    check(here)


def test_the_latest_row_per_key_stops_at_new_partitions(scene: Callable[..., Scene]) -> None:
    here = scene(LATEST)
    run = here.run()
    here.publish()
    here.catch_up()
    add_partitions(here.site, here.topic, 12)
    wait_until("it stops", lambda: not run.running)
    assert run.ended() != 0
    assert "PartitionsChanged" in run.log.read_text()
