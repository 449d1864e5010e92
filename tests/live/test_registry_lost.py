"""A schema registry that cannot be read when a worker starts, or that is gone while it works."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator

import pytest

from tests.faults import Site, open_site, wait_until
from tests.integration.kafka_scenes import admin
from tests.live.invariants import check
from tests.live.running import Run
from tests.live.scenes import Scene
from tests.readings import SCHEMA, START_MS, Reading, Unsent, encoded


@pytest.fixture
def site(site: Site) -> Iterator[Site]:
    """The same, but for a registry of its own that may be lost."""
    url = site.settings.postgres.url.get_secret_value()
    with open_site(site.kafka.bootstrap_servers, url, site.engine, site.plugins) as one:
        yield one


def test_a_registry_that_cannot_be_read_at_the_start(scene: Callable[..., Scene]) -> None:
    """It is told why nothing is followed, and a stop is heeded."""
    here = scene()
    here.before_the_fault()
    unread = here.publish()
    unfit = f"{here.topic}_unfit"
    here.site.create(unfit, 2)
    run = here.run(environment={"KAPPA_REGISTRY__TOPIC": unfit})
    wait_until("it is told", lambda: "RegistryUnavailable" in run.errors())
    assert here.lag == len(unread)
    assert run.stop() == 0
    here.run()
    check(here)


def test_a_registry_that_is_deleted(scene: Callable[..., Scene]) -> None:
    """Schemas that were read are known; what needs another waits until it is there again."""
    here = scene()
    first = here.run("--http", "127.0.0.1:0")
    here.publish()
    here.catch_up()
    schema_id = here.site.schema_id(here.topic)
    delete(here)
    known = readings(here, schema_id, 30)
    here.send(known)
    here.catch_up()
    second = here.run()
    wait_until("who starts is told", lambda: "UnknownSchema" in second.errors())
    (unknown,) = readings(here, schema_id + 1, 1)
    here.send([unknown])
    wait_until("who needs another is told", lambda: "UnknownSchema" in first.errors())
    assert here.lag > 0
    wait_until("the lag is measured while it waits", lambda: measured_waiting(first) > 0)
    here.site.create(here.site.settings.registry.topic, 1, cleanup_policy="compact")
    here.site.force_schema(here.topic, SCHEMA, 1, schema_id)
    here.site.force_schema(here.topic, SCHEMA, 2, schema_id + 1)
    wait_until("both work", lambda: works(here, first, second))
    here.publish()
    check(here)


def readings(here: Scene, schema_id: int, count: int) -> list[Unsent]:
    """Readings written with this schema."""
    made = [Reading("s", number, 1.0, START_MS) for number in range(count)]
    return [
        Unsent(number % here.partitions, b"s", encoded(schema_id, reading), reading)
        for number, reading in enumerate(made)
    ]


def measured_waiting(run: Run) -> float:
    """The lag that its metrics show of a worker that waits; 0 where none does."""
    (event,) = run.events("metrics and health")
    with urllib.request.urlopen(f"{event['url']}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    if not any('state="waiting"' in line and line.endswith(" 1.0") for line in lines):
        return 0
    return sum(float(line.split()[-1]) for line in lines if line.startswith("kappa_lag_records{"))


def delete(here: Scene) -> None:
    """Deletes the registry's topic."""
    topic = here.site.settings.registry.topic
    client = admin(here.site.kafka)  # its futures fail if it is collected before them
    client.delete_topics([topic])[topic].result(20)


def works(here: Scene, *runs: Run) -> bool:
    """Whether a worker of each has partitions."""
    pids = {worker.pid for run in runs for worker in run.workers()}
    return here.owners() == pids
