"""A promote that dies in its drain: the old version goes on by itself, whoever reads for it."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread

import pytest

from kappa.errors import Fenced
from kappa.runtime.replay.execution import Finished
from kappa.runtime.replay.join import join
from kappa.runtime.replay.plan import plan
from kappa.versions import timeline
from kappa.versions.lifecycle import State
from tests.faults import Site, wait_until
from tests.integration.test_promote import active, states
from tests.integration.test_promote_drain import begin_drain, offset
from tests.live.running import Run
from tests.readings import good, readings

LAGGING = """
import time

import polars as pl
from kappa import KeyedProcessor, Source


class First(KeyedProcessor):
    name, version = "{name}", 1
    source = Source("{topic}", event_time="at")
    key = "sensor"
    columns = ("code",)
    output = {{"sensor": pl.String(), "code": pl.Int64()}}

    def on_event(self, event, ctx):
        ctx.emit(sensor=ctx.key, code=event.code)


class Second(First):
    version = 2

    def on_event(self, event, ctx):
        time.sleep(0.2)
        super().on_event(event, ctx)
"""
BEHIND = 1_000
"""Records that the second version takes longer for than all of the test."""


class Scene:
    """Version 1 serves; both have read all there is."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.topic = site.topic()
        self.name = site.processor(LAGGING, self.topic, ("First", "Second"))
        for version in (1, 2):
            site.replay(self.name, version=version)
        assert site.kappa("promote", self.name, "--version", "1").returncode == 0

    def publish(self, count: int) -> None:
        schema_id = self.site.schema_id(self.topic)
        made = readings(count, seed=count)
        self.site.publish(self.topic, [good(schema_id, 0, one) for one in made])

    def read_all(self) -> bool:
        """Whether version 1 has."""
        return offset(self.site.engine, self.name, 1) == self.site.ends(self.topic)[0]

    def state(self) -> State:
        return states(self.site.engine, self.name)[1]

    def let_time_pass(self) -> None:
        """The time of the drain is over."""
        self.site.query(
            "UPDATE kappa_version SET drains_until = clock_timestamp()"
            " WHERE processor = :name AND version = 1 RETURNING 1",
            name=self.name,
        )

    def ended(self) -> tuple[State | None, object]:
        """The state version 1 left last, and why."""
        with self.site.engine.connect() as connection:
            last = timeline.read(connection, self.name, 1)[-1]
        return last.from_state, last.detail


OVER = (State.DRAINING, {"reason": "its time is over"})


def test_a_worker_ends_it_and_reads_on(site: Site, tmp_path: Path) -> None:
    here = Scene(site)
    with Run(site.environment, tmp_path / "run.log", here.name, "--max-batch", "10"):
        here.publish(BEHIND)
        wait_until("version 1 has read it", here.read_all)
        killed = site.kappa("promote", here.name, "--drain", "15", failpoint="drained")
        assert killed.returncode == -9, killed.stderr
        assert here.state() is State.DRAINING
        here.publish(20)
        wait_until("version 1 reads on", here.read_all)
    assert here.ended() == OVER
    assert states(site.engine, here.name) == {1: State.SERVING, 2: State.READY}
    assert active(site.engine, here.name) == 1


def test_a_replay_ends_it_once_its_time_is_over(site: Site) -> None:
    here = Scene(site)
    begin_drain(site.engine, here.name, 60)
    here.publish(20)
    with pytest.raises(Fenced, match="takes no input"):
        site.replay(here.name)
    assert not here.read_all()
    here.let_time_pass()
    site.replay(here.name)
    assert here.read_all()
    assert here.ended() == OVER
    assert here.state() is State.SERVING


def test_a_shared_replay_waits_for_its_time_to_be_over(site: Site) -> None:
    here = Scene(site)
    begin_drain(site.engine, here.name, 60)
    here.publish(20)
    looked = Event()
    done: list[Finished] = []

    def share() -> None:
        planned = plan(site.settings, here.name, 1)
        done.append(join(planned, batch_size=10, listener=lambda offsets: looked.set()))

    Thread(target=share, daemon=True).start()
    assert looked.wait(90)
    assert here.state() is State.DRAINING
    here.let_time_pass()
    wait_until("the replay ends", lambda: bool(done))
    assert here.read_all()
    assert here.ended() == OVER
    assert done[0].state is State.SERVING
