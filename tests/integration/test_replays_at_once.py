"""Replays planned before another one of the same version had begun, or ended, its build."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

import pytest

from kappa.errors import IllegalTransition, KappaError
from kappa.runtime.replay.execution import begin, execute, registered
from kappa.runtime.replay.join import join
from kappa.runtime.replay.plan import Plan, plan
from kappa.versions.lifecycle import State
from tests.faults import Site
from tests.integration.tables_scenes import wait_until_blocked
from tests.integration.test_faults_partitions import add_partitions, check_totals, publish
from tests.readings import TOTALS


def begun(site: Site, name: str) -> None:
    """The build begins, and nothing is read yet."""
    with site.engine.begin() as connection:
        begin(connection, registered(plan(site.settings, name, 1)))


def grown(site: Site) -> tuple[str, str, Plan, Plan]:
    """A build of one partition, as it is planned before the topic has a second one, and after."""
    topic = site.topic(1)
    publish(site, topic, range(1), seed=1)
    name = site.processor(TOTALS, topic)
    begun(site, name)
    before = plan(site.settings, name, 1)
    add_partitions(site, topic, 2)
    publish(site, topic, range(1, 2), seed=2)
    return topic, name, before, plan(site.settings, name, 1)


@pytest.mark.parametrize("further", [False, True])
def test_one_planned_before_another_began_does_not_read_to_other_ends(
    site: Site, further: bool
) -> None:
    topic = site.topic(1)
    sent = publish(site, topic, range(1), seed=1)
    name = site.processor(TOTALS, topic)
    first = plan(site.settings, name, 1)
    sent += publish(site, topic, range(1), seed=2)
    second = plan(site.settings, name, 1)
    builds, stale = (first, second) if further else (second, first)
    with site.engine.begin() as connection:
        begin(connection, registered(builds))
    with pytest.raises(IllegalTransition, match="another replay") as caught:
        execute(stale)
    assert "--join" in caught.value.hint
    assert (caught.value.detail["end"], caught.value.detail["planned"]) == (
        builds.offsets,
        stale.offsets,
    )
    assert site.positions(name) == {0: 0}
    assert execute(builds).state is State.READY
    assert site.positions(name) == {0: builds.offsets}
    site.replay(name)
    check_totals(site, name, sent)


@pytest.mark.parametrize("go", [execute, lambda planned: join(planned, batch_size=10)])
def test_no_partition_is_added_to_a_build_that_has_ended(
    site: Site, go: Callable[[Plan], object]
) -> None:
    topic, name, before, after = grown(site)
    assert execute(before).state is State.READY
    with pytest.raises(IllegalTransition, match="was built since"):
        go(after)
    assert site.positions(name) == {0: 60}
    assert site.replay(name).records == 60
    assert site.positions(name) == site.ends(topic)


def test_a_build_does_not_end_while_a_partition_is_being_added(site: Site) -> None:
    _, name, before, after = grown(site)
    errors: list[KappaError] = []

    def end() -> None:
        try:
            execute(before)
        except KappaError as error:
            errors.append(error)

    with site.engine.begin() as connection:
        begin(connection, after)
        ending = Thread(target=end)
        ending.start()
        wait_until_blocked(site.engine)
    ending.join()
    assert [error.message for error in errors] == [f"{name} version 1 is not built to its end"]
    assert execute(after).state is State.READY
    assert site.positions(name) == {0: 60, 1: 60}
