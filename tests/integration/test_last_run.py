"""A build that took several runs: what is known of the last, and what the next is to take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kappa.runtime.replay.estimate import estimate
from kappa.runtime.replay.execution import execute
from kappa.runtime.replay.join import _Shared, join
from kappa.runtime.replay.plan import Plan, plan
from kappa.runtime.worker.job import Rhythm
from kappa.versions.manifest import Run
from tests.faults import Interrupted, Site
from tests.readings import TOTALS, good, readings

RUNS: dict[str, Callable[[Plan], object]] = {
    "alone": lambda plan: execute(plan, workers=1, batch_size=9),
    "shared": lambda plan: join(plan, batch_size=9),
}


def published(site: Site, topic: str, count: int, seed: int) -> None:
    schema_id = site.schema_id(topic)
    made = readings(count, seed=seed)
    site.publish(topic, [good(schema_id, number % 2, one) for number, one in enumerate(made)])


def halfway(site: Site, topic: str) -> tuple[str, int]:
    """A build that was cut short, and how many records it has read."""
    name = site.processor(TOTALS, topic)
    with pytest.raises(Interrupted):
        site.replay(name, 5, stop_after=10)
    return name, sum(part.records for part in site.partitions(name).values())


def manifest(site: Site, name: str) -> dict[str, Any]:
    ((found,),) = site.query("SELECT manifest FROM kappa_version WHERE processor = :n", n=name)
    return dict(found)


@pytest.mark.parametrize("how", RUNS)
def test_the_next_is_estimated_by_what_the_last_run_read_in_its_time(site: Site, how: str) -> None:
    topic = site.topic(2)
    published(site, topic, 60, seed=1)
    name, before = halfway(site, topic)
    assert 0 < before < 60
    RUNS[how](plan(site.settings, name, 1))
    made = manifest(site, name)
    last = made["last_run"]
    assert (made["records"], last["records"]) == (60, 60 - before)
    assert (last["workers"], last["batch_size"]) == (1, 9)
    assert last["seconds"] > 0
    site.query(
        "UPDATE kappa_version SET manifest = jsonb_set(manifest, '{last_run,seconds}', '3')"
        " WHERE processor = :n RETURNING 1",
        n=name,
    )
    published(site, topic, 2 * (60 - before), seed=2)
    assert estimate(plan(site.settings, name, 1)).seconds == 6


def test_one_of_several_counts_what_all_have_read_in_its_time(site: Site) -> None:
    topic = site.topic(2)
    published(site, topic, 60, seed=1)
    name, _ = halfway(site, topic)
    shared = _Shared(plan(site.settings, name, 1), site.engine, Rhythm(8, 1.0), lambda n: None)
    site.query(
        "UPDATE kappa_offset SET records = records + 3, owner = 'host:' || partition"
        " WHERE processor = :n RETURNING 1",
        n=name,
    )
    assert shared.run(2.5) == Run(records=6, seconds=2.5, workers=2, batch_size=8)
