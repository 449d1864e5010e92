"""Comparing versions that are read for meanwhile, by ``kappa run`` and by replays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from kappa.operations.diff import Allowance, Comparison, diff
from kappa.runtime.worker import worker
from kappa.tables import holds
from kappa.versions import holding
from tests.faults import Site, beside, wait_until
from tests.live.running import Run
from tests.readings import good, readings

PAIR = """
import polars as pl
from kappa import Count, Projection, Source, Sum, Tumbling, WindowedAggregate

first, second = (
    WindowedAggregate(
        name="{name}",
        version=version,
        source=Source("{topic}", event_time="at", out_of_orderness="20s"),
        key=["sensor"],
        window=Tumbling("1m"),
        aggregates={{"readings": Count(), "total": Sum("value")}},
    )
    for version in (1, 2)
)
"""


class Scene:
    """A topic of readings, and two versions over it that come to the same rows."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.topic = site.topic(3)
        self.name = site.processor(PAIR, self.topic, ("first", "second"))
        self._seeds = iter(range(1_000_000))
        self.publish(200)
        for version in (1, 2):
            site.replay(self.name, version=version)

    def publish(self, count: int) -> None:
        schema_id = self.site.schema_id(self.topic)
        made = readings(count, seed=next(self._seeds))
        self.site.publish(
            self.topic, [good(schema_id, number % 3, one) for number, one in enumerate(made)]
        )

    def load(self) -> AbstractContextManager[None]:
        """Publishes all the time."""

        def publish(over: Event) -> None:
            while not over.wait(0.02):
                self.publish(20)

        return beside(publish)

    def diff(self, timeout_s: float = 60) -> Comparison:
        return diff(
            self.site.settings,
            self.name,
            1,
            2,
            allowance=Allowance(),
            most_samples=3,
            timeout_s=timeout_s,
        )

    def positions(self, version: int) -> dict[int, int]:
        found = self.site.query(
            "SELECT partition, next_offset FROM kappa_offset"
            " WHERE processor = :name AND version = :version",
            name=self.name,
            version=version,
        )
        return {row.partition: row.next_offset for row in found}

    def moved(self, version: int, since: dict[int, int]) -> None:
        """Waits until all of the version's partitions are past where they were."""

        def past() -> bool:
            now = self.positions(version)
            return all(now[number] > then for number, then in since.items())

        wait_until(f"version {version} goes on", past, 60)

    def held(self, version: int) -> dict[tuple[str, int], int]:
        with self.site.engine.connect() as conn:
            return holds.until(conn, self.name, version)


@pytest.fixture
def scene(site: Site) -> Scene:
    return Scene(site)


@contextmanager
def followed(scene: Scene, log: Path) -> Iterator[Run]:
    with Run(scene.site.environment, log, scene.name) as run:
        run.started(2)
        yield run


def test_versions_that_are_followed_under_load_are_compared_at_the_same_offsets(
    scene: Scene, tmp_path: Path
) -> None:
    with followed(scene, tmp_path / "run.log") as run, scene.load():
        scene.moved(1, scene.positions(1))
        seen: list[dict[int, int]] = []
        for _ in range(3):
            found = scene.diff()
            at = {place.partition: place.next_offset for place in found.offsets}
            assert found.outputs[0].rows_before > 0
            assert found.rate == 0, found.outputs[0].samples
            assert not seen or all(at[number] >= seen[-1][number] for number in at)
            seen.append(at)
            for version in (1, 2):
                scene.moved(version, at)
        assert run.running
        assert run.errors() == []


def test_a_diff_that_is_killed_lets_the_versions_go_on_when_its_hold_expires(
    scene: Scene, tmp_path: Path
) -> None:
    with followed(scene, tmp_path / "run.log") as run:
        killed = scene.site.kappa("diff", scene.name, "--from", "1", failpoint="held")
        assert killed.returncode == -9, killed.stderr
        stopped = scene.positions(1)
        assert {(scene.topic, number): at for number, at in stopped.items()} == scene.held(1)
        scene.publish(90)
        scene.site.query(
            "UPDATE kappa_hold SET expires_at = clock_timestamp() + interval '3 s'"
            " WHERE processor = :name RETURNING 1",
            name=scene.name,
        )
        looks = 0
        while (at := scene.positions(1)) and scene.held(1):
            assert at == stopped
            looks += 1
        assert looks > 0
        for version in (1, 2):
            scene.moved(version, stopped)
        assert run.errors() == []
        assert scene.diff().rate == 0


def test_a_replay_that_catches_up_waits_at_a_hold_and_then_goes_on(scene: Scene) -> None:
    engine = scene.site.engine
    scene.publish(90)
    scene.site.replay(scene.name, version=1)
    hold = holding.place(engine, scene.name, (1, 2), seconds=600)
    scene.publish(90)
    ends = scene.site.ends(scene.topic)
    thread = Thread(target=scene.site.replay, args=(scene.name,), kwargs={"version": 2})
    thread.start()
    try:
        meet = {at.partition: at.next_offset for at in hold.offsets}
        wait_until("it is at the hold", lambda: scene.positions(2) == meet)
        assert all(meet[number] < end for number, end in ends.items())
    finally:
        holding.release(engine, hold)
        thread.join(60)
    assert not thread.is_alive()
    assert scene.positions(2) == ends
    assert scene.positions(1) == meet


def test_a_replay_that_a_hold_has_fenced_goes_on(scene: Scene) -> None:
    """The hold comes between the claim and the first checkpoint, and is over by then."""
    engine = scene.site.engine
    scene.publish(90)
    placed: list[holding.Hold] = []

    def hold() -> None:
        placed.append(holding.place(engine, scene.name, (1, 2), seconds=600))
        holding.release(engine, placed[-1])

    with _at_claim(hold):
        scene.site.replay(scene.name, version=2)
    assert placed
    assert scene.positions(2) == scene.site.ends(scene.topic)


@contextmanager
def _at_claim(call: Callable[[], None]) -> Iterator[None]:
    """Calls once when a worker of this process has claimed its partitions."""
    before, called = worker.reach, []

    def reach(name: str) -> None:
        if name == "claimed" and not called:
            called.append(name)
            call()

    worker.reach = reach
    try:
        yield
    finally:
        worker.reach = before
