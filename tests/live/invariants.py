"""What has to hold after any fault, whatever it was."""

from __future__ import annotations

import random
from collections.abc import Sequence

from kappa.operations.replay import DEFAULT_BATCH_SIZE
from kappa.tables.digest import digest
from kappa.versions.lifecycle import State
from kappa.versions.records import VersionRecord
from tests.faults import Site
from tests.live.scenes import Scene
from tests.readings import LATEST, LINES, TOTALS, Sent, expected_totals

PROGRESS_S = 60.0
"""Within which a version goes on once a fault is over."""
TWINS = ((1, 7), (1, 50), (2, 7), (1, DEFAULT_BATCH_SIZE))
"""Workers and batch sizes of which a scene's twin has one, by how many records there are."""


def check(scene: Scene, *, kept_bytes: int = 0) -> None:
    """Progress after the fault; then, of every record sent, that it was applied exactly once.

    A fold, record by record, of what lies below the stored offsets is compared with the tables;
    a replay of the same log, in other batches by other workers, must leave the same digest; nothing
    anybody could see meanwhile may have been wrong; and memory, files, threads and sessions are as
    they were when the scene's runs first had caught up, which has to be before the fault.

    Args:
        kept_bytes: of memory, beyond what is usual, that allocators may keep for the next time.
    """
    assert not scene.runs or scene.before is not None, "nobody caught up before the fault"
    scene.reach_the_end(PROGRESS_S)
    check_now(scene)
    for run in scene.runs:
        assert run.not_given_back(run.before or scene.before, kept_bytes) == {}
    site = scene.site
    twin = site.processor(scene.code, scene.topic)
    workers, batch_size = random.Random(len(scene.sent)).choice(TWINS)
    site.replay(twin, batch_size, workers=workers)
    suffixes = ["", "__late"] if scene.code == TOTALS else [""]
    with site.engine.connect() as connection:
        live, replayed = (
            [digest(connection, f"{name}__v1{suffix}") for suffix in suffixes]
            for name in (scene.name, twin)
        )
    assert live == replayed
    assert site.letters(scene.name).keys() == site.letters(twin).keys()


def check_now(scene: Scene) -> None:
    """What has to hold at any time: the tables are those of the records below the offsets."""
    site, name = scene.site, scene.name
    found = site.partitions(name)
    below = [one for one in scene.sent if one.offset < found[one.partition].next_offset]
    for number, partition in found.items():
        here = [one for one in below if one.partition == number]
        assert partition.records == len(here), f"records of partition {number}"
    dead = {(one.partition, one.offset) for one in below if _undecodable(one)}
    assert site.letters(name).keys() == dead
    assert sum(partition.dead for partition in found.values()) == len(dead)
    _TABLES[scene.code](scene, [one for one in below if one.reading is not None])
    assert scene.history.samples > 0
    assert scene.history.breaks == []


def tables_of(record: VersionRecord) -> list[str]:
    """Every table the version has, unless it is retired."""
    layout = record.layout
    kept = (layout.table, layout.late_table, layout.state_table)
    return [*filter(None, kept), *map(layout.side_table, layout.sides)]


def half_done(site: Site, record: VersionRecord) -> list[str]:
    """What is wrong with its tables: it has all and no other, or is retired and has none."""
    there = site.query(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace ="
        " current_schema()::regnamespace AND (relname = :name OR starts_with(relname, :prefix))",
        name=record.layout.table,
        prefix=f"{record.layout.table}__",
    )
    found = {row.relname for row in there}
    if found == (set() if record.state is State.RETIRED else set(tables_of(record))):
        return []
    return [f"version {record.version} is {record.state.value}, and there are {sorted(found)}"]


def _undecodable(one: Sent) -> bool:
    return one.reading is None and one.value is not None


def _totals(scene: Scene, below: Sequence[Sent]) -> None:
    rows, expected = expected_totals(below)
    assert scene.site.totals(scene.name) == rows
    assert scene.site.late(scene.name) == expected.late


def _lines(scene: Scene, below: Sequence[Sent]) -> None:
    found = scene.site.query(
        f"SELECT _partition, _offset, sensor, code, value FROM {scene.name}__v1"
    )
    readings = {(one.partition, one.offset): one.reading for one in below}
    assert {tuple(row) for row in found} == {
        (*place, reading.sensor, reading.code, reading.value)
        for place, reading in readings.items()
        if reading is not None and reading.code != 13
    }


def _latest(scene: Scene, below: Sequence[Sent]) -> None:
    expected = {
        one.reading.sensor: (one.reading.code, one.reading.value)
        for one in sorted(below, key=lambda one: one.offset)
        if one.reading is not None
    }
    assert scene.site.latest(scene.name) == expected


_TABLES = {TOTALS: _totals, LINES: _lines, LATEST: _latest}
