"""What a replay that several processes share has left, and when nothing of it can be left."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

from kappa.errors import Fenced, KappaError
from kappa.operations.retire import abort
from kappa.runtime.replay.join import _Shared, join
from kappa.runtime.replay.plan import plan
from kappa.runtime.worker.job import Rhythm
from tests.faults import Site, wait_until
from tests.readings import TOTALS, good, readings


def test_a_partition_that_others_have_added_is_none_of_it(site: Site) -> None:
    """Who follows the built version has registered it since the plan was made."""
    topic = site.topic(2)
    name = site.processor(TOTALS, topic)
    schema_id = site.schema_id(topic)
    made = readings(40, seed=1)
    site.publish(topic, [good(schema_id, n % 2, one) for n, one in enumerate(made[:20])])
    site.replay(name)
    site.publish(topic, [good(schema_id, n % 2, one) for n, one in enumerate(made[20:])])
    shared = _Shared(plan(site.settings, name, 1), site.engine, Rhythm(100, 1.0), lambda n: None)
    assert shared.left() == {0: 20, 1: 20}
    site.query(
        "INSERT INTO kappa_offset"
        " (processor, version, topic, topic_id, partition, start_offset, next_offset)"
        " SELECT processor, version, topic, topic_id, 2, 0, 0 FROM kappa_offset"
        " WHERE processor = :name AND partition = 0 RETURNING 1",
        name=name,
    )
    assert shared.left() == {0: 20, 1: 20}


def test_all_who_share_a_build_end_when_it_is_aborted(site: Site) -> None:
    """The first is in the middle of its partition then; the second holds none and waits."""
    topic = site.topic(1)
    name = site.processor(TOTALS, topic)
    schema_id = site.schema_id(topic)
    site.publish(topic, [good(schema_id, 0, one) for one in readings(40, seed=1)])
    joined, aborted = Event(), Event()
    ended: list[KappaError] = []

    def stop_halfway(offsets: int) -> None:
        if offsets:
            aborted.wait()

    def share(listener: Callable[[int], None]) -> None:
        try:
            join(plan(site.settings, name, 1), batch_size=5, listener=listener)
        except KappaError as error:
            ended.append(error)

    Thread(target=share, args=(stop_halfway,), daemon=True).start()
    wait_until("a checkpoint", lambda: site.positions(name).get(0, 0) > 0)
    Thread(target=share, args=(lambda offsets: joined.set(),), daemon=True).start()
    assert joined.wait(90)
    assert abort(site.settings, name, 1).changed
    aborted.set()
    wait_until("the end of both", lambda: len(ended) == 2)
    assert {type(error) for error in ended} == {Fenced}
    assert {error.message for error in ended} == {f"{name} version 1 is retired"}
