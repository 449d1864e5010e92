"""A topic that is created again, or loses records nobody has read, while a version is followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.integration.test_faults_truncation import delete_records, delete_topic
from tests.live.invariants import check_now
from tests.live.running import Run
from tests.live.scenes import Scene
from tests.readings import START_MS, Reading, good


@contextmanager
def paused(run: Run) -> Iterator[None]:
    """Its worker sees nothing of what is done meanwhile."""
    (worker,) = run.workers()
    worker.suspend()
    try:
        yield
    finally:
        worker.resume()


def refused(here: Scene, run: Run, *errors: str) -> None:
    """It ends by one of these errors, and so does who is started after it; no row changes."""
    assert run.ended() != 0
    before = here.site.everything(here.name)
    again = here.run()
    assert again.ended() != 0
    for each in (run, again):
        assert set(each.errors()) & set(errors), each.log.read_text()
    assert here.site.everything(here.name) == before


def test_a_topic_that_is_created_again_is_not_followed(scene: Callable[..., Scene]) -> None:
    """It has the same name, partitions, and more records than the one before."""
    here = scene()
    run = here.run()
    here.publish()
    here.catch_up()
    before = here.site.everything(here.name)
    with paused(run):
        schema_id = here.site.schema_id(here.topic)
        delete_topic(here.site.kafka, here.topic)
        here.site.create(here.topic, here.partitions)
        others = [good(schema_id, n % 3, Reading("other", n, 1.0, START_MS)) for n in range(90)]
        here.site.publish(here.topic, others)
    refused(here, run, "TopicRecreated")
    assert here.site.everything(here.name) == before
    check_now(here)


def test_records_that_are_deleted_before_they_are_read_are_not_skipped(
    scene: Callable[..., Scene],
) -> None:
    here = scene()
    run = here.run()
    here.publish()
    here.catch_up()
    with paused(run):
        here.publish(3)  # a request that the broker holds may be answered with these
        here.publish()
        end = here.site.ends(here.topic)[0]
        delete_records(here.site.kafka, here.topic, 0, end - 5)
    refused(here, run, "OffsetOutOfRange", "HistoryTruncated")
    assert here.site.positions(here.name)[0] < end - 5
    check_now(here)
