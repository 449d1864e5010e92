"""How much a tenure holds at most: bytes between two checkpoints, and batches while one commits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

import pytest

from kappa.plugins import find, load
from kappa.runtime.assembly import assemble, registry_of
from kappa.runtime.worker import tenure as tenures
from kappa.runtime.worker.checkpoint import Checkpoint, LogEnds, Written
from kappa.runtime.worker.job import Report, Rhythm
from kappa.runtime.worker.lasting import commit_lasting
from kappa.runtime.worker.spent import Spent
from kappa.runtime.worker.tenure import Tenure, Terms
from kappa.runtime.worker.worker import taken_over
from tests.faults import Site, beside, wait_until
from tests.readings import TOTALS, Sent, expected_totals, good, readings

COUNT = 400
NEVER_S = 3_600.0


@pytest.fixture
def topic(site: Site) -> str:
    return site.topic(2)


@pytest.fixture
def name(site: Site, topic: str) -> str:
    """A version that was built before there was a record."""
    name = site.processor(TOTALS, topic)
    site.replay(name)
    return name


@pytest.fixture
def sent(site: Site, topic: str, name: str) -> list[Sent]:
    schema_id = site.schema_id(topic)
    made = enumerate(readings(COUNT, seed=1))
    return site.publish(topic, [good(schema_id, number % 2, reading) for number, reading in made])


@contextmanager
def taken(
    site: Site, topic: str, name: str, rhythm: Rhythm, spent: Spent | None = None
) -> Iterator[tuple[Tenure, list[Report]]]:
    """A tenure of all partitions up to where they end, and what it reports."""
    registry, ends = registry_of(site.settings), site.ends(topic)
    assembly = assemble(load(find(name, 1)), registry)
    terms = Terms(
        kafka=site.kafka,
        layout=assembly.layout,
        remerge=assembly.bound.remerge,
        building=False,
        limit=assembly.bound.declaration.max_dead_letters,
        rhythm=rhythm,
        ends=LogEnds,
        patience_s=30,
    )
    places = {(topic, number): end for number, end in ends.items()}
    told: list[Report] = []
    with taken_over(
        site.settings, assembly, registry, terms, places, "test", told.append, spent
    ) as tenure:
        yield tenure, told


@pytest.mark.parametrize(("batch_bytes", "least"), [(1 << 30, 1), (1, 2)])
def test_a_checkpoint_is_due_after_so_many_bytes(
    site: Site, topic: str, name: str, sent: list[Sent], batch_bytes: int, least: int
) -> None:
    rhythm = Rhythm(10 * COUNT, NEVER_S, batch_bytes=batch_bytes)
    with taken(site, topic, name, rhythm) as (tenure, told):
        tenure.run(lambda: False)
    assert sum(report.records for report in told) == COUNT
    assert len(told) == 1 if least == 1 else len(told) >= least
    assert site.totals(name) == expected_totals(sent)[0]


def test_while_a_checkpoint_is_committed_one_more_is_folded_and_no_other(
    site: Site, topic: str, name: str, sent: list[Sent], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Checkpoint] = []
    released, spent = Event(), Spent()

    def held(engine, layout, checkpoint, **rest) -> Written:  # type: ignore[no-untyped-def]
        begun.append(checkpoint)
        released.wait(90)
        return commit_lasting(engine, layout, checkpoint, **rest)

    monkeypatch.setattr(tenures, "commit_lasting", held)
    with (
        taken(site, topic, name, Rhythm(50, NEVER_S), spent) as (tenure, told),
        beside(lambda over: tenure.run(over.is_set)),
    ):
        try:
            wait_until("the fold waits", lambda: spent.waits_for == "database" and bool(begun))
            assert sum(run.position for run in tenure.runs) == 2 * 50
            assert (len(begun), told) == (1, [])
        finally:
            released.set()
        wait_until("all is committed", lambda: site.positions(name) == site.ends(topic))
    assert [report.records for report in told] == [50] * (COUNT // 50)
    assert site.totals(name) == expected_totals(sent)[0]
