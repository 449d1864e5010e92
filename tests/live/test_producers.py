"""Producers that get in each other's way, and partitions that are added, while a version runs."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import pytest
from confluent_kafka import KafkaException, Producer

from tests.faults import Site, beside, wait_until
from tests.integration.kafka_scenes import producer
from tests.integration.test_faults_clocks import TIMERS
from tests.integration.test_faults_partitions import add_partitions
from tests.live.invariants import check
from tests.live.scenes import Scene
from tests.readings import LATEST, START_MS, Reading, good, readings


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
    here.catch_up()
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

    def load(over: Event) -> None:
        while not over.wait(0.05):
            here.publish(30)

    with beside(load):
        here.moved(here.site.positions(here.name))
        add_partitions(here.site, here.topic, 12)
        schema_id = here.site.schema_id(here.topic)
        made = enumerate(readings(90, seed=5))
        here.send((good(schema_id, 3 + n % 9, reading) for n, reading in made), linger_ms=0)
        wait_until("all are followed", lambda: len(here.site.positions(here.name)) == 12)
        here.moved(here.site.positions(here.name) | dict.fromkeys(range(3, 12), 0))
    here.partitions = 12
    here.site.producer = producer(here.site.kafka, linger_ms=0)  # learns of them now
    here.publish(120)
    here.catch_up()
    assert len(run.events("the topic has new partitions")) >= 1
    check(here)


@pytest.mark.parametrize("code", [LATEST, TIMERS], ids=["latest", "keyed"])
def test_what_keeps_something_per_key_stops_at_new_partitions(
    scene: Callable[..., Scene], code: str
) -> None:
    here = scene(code)
    run = here.run()
    here.publish()
    here.catch_up()
    add_partitions(here.site, here.topic, 12)
    wait_until("it stops", lambda: not run.running)
    assert run.ended() != 0
    assert "PartitionsChanged" in run.log.read_text()
