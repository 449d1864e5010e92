"""A checkpoint whose COMMIT is lost: what a repetition may still say of the log."""

from __future__ import annotations

import polars as pl

from kappa.errors import DatabaseUnavailable
from kappa.operations.promote import promote
from kappa.processing.events import Changes
from kappa.runtime.worker.checkpoint import Checkpoint, LogEnds, pass_silence
from kappa.runtime.worker.lasting import commit_lasting
from kappa.tables import dead_letters, progress
from kappa.tables.engine import connect
from kappa.tables.progress import Advance
from kappa.versions import records
from tests.faults import Site
from tests.integration.postgres_proxy import CommitProxy
from tests.integration.test_finality import IMPATIENT, at, minutes, publish


def test_a_repetition_takes_no_partition_for_silent(site: Site) -> None:
    """Partition 1, at minute 1.5, has nothing to read before the loss; afterwards nobody knows."""
    topic = site.topic(2)
    publish(site, topic, (0, at(0)), (0, at(4.5)), (1, at(0)), (1, at(1.5)))
    name = site.processor(IMPATIENT, topic)
    site.replay(name)
    promote(site.settings, {name: None})
    assert minutes(site, name) == {0: 2}

    with site.engine.connect() as connection:
        layout = records.require(connection, name, 1).layout
        rows = {row.partition: row for row in progress.read(connection, name, 1)}
    one = rows[0]
    step = Advance(
        topic=topic,
        partition=0,
        epoch=one.epoch,
        old_offset=one.next_offset,
        new_offset=one.next_offset + 1,
        max_event_time=one.max_event_time,
        max_record_time=one.max_record_time,
        records=1,
    )
    reached = {0: step.new_offset, 1: rows[1].next_offset}
    ends = LogEnds([(topic, number, end) for number, end in reached.items()], [(topic, 1)])
    checkpoint = Checkpoint(
        advances=[step],
        changes=Changes(pl.DataFrame()),
        dead=pl.DataFrame(schema=dead_letters.FRAME_SCHEMA),
        building=False,
        ends=ends,
    )
    lost: list[DatabaseUnavailable] = []
    with CommitProxy(site.engine, after=b"kappa_offset", most=1) as proxy:
        proxied = connect(proxy.url)
        commit_lasting(proxied, layout, checkpoint, patience_s=60, on_lost=lost.append)
        proxied.dispose()
    assert (proxy.cuts, len(lost)) == (1, 1)
    assert site.positions(name) == reached
    assert minutes(site, name) == {0: 2}

    epochs = {number: row.epoch for number, row in rows.items()}
    pass_silence(site.engine, layout, topic, reached, epochs, ends)
    assert minutes(site, name) == {0: 2, 1: 1}, "it was silent all the same, as is seen by now"
