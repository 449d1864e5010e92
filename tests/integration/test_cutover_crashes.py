"""SIGKILL at every step from a new version to a retired one, and what the next command makes of it.

| killed                      | left                           | the same command again     |
|-----------------------------|--------------------------------|----------------------------|
| once the version is made    | building                       | goes on, ready             |
| in its first rows           | building                       | goes on from its offsets   |
| while its tables get keys   | building, all is read          | makes them, ready          |
| once its tables have keys   | ready                          | finds nothing to do        |
| in a drain                  | draining, view unchanged       | promotes                   |
| inside the swap             | as before                      | promotes                   |
| after its COMMIT            | swapped                        | serves already             |
| with its tables dropped     | as before                      | retires                    |
| after that COMMIT           | retired                        | is retired already         |
| a rollback, after its COMMIT | rolled back                   | was rolled back already    |
| in the middle of a build    | building                       | is given up by an abort    |
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kappa.operations.retire import abort
from kappa.versions.lifecycle import State
from tests.faults import Site
from tests.integration import killed_at
from tests.integration.tables_scenes import (
    side_by_side,
)
from tests.integration.test_promote import active, shown, states
from tests.integration.test_promote_drain import offset, worker
from tests.readings import TOTALS, Unsent, good, readings

Unique = Callable[[str], str]
ROOT = Path(__file__).parents[2]
TWO = TOTALS.replace("processor = ", "second = ").replace("version=1", "version=2")


@dataclass(frozen=True)
class Command:
    """kappa as a process at a site, which has to end as it should."""

    site: Site

    def __call__(self, *args: str, killed_at: str | None = None, refused: int = 0) -> str:
        """What it prints; with ``killed_at`` it has to be killed at that step."""
        done = self.site.kappa(*args, failpoint=killed_at)
        wanted = -signal.SIGKILL if killed_at else refused
        assert done.returncode == wanted, f"{args} at {killed_at}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def kappa(site: Site) -> Command:
    return Command(site)


def test_from_the_first_step_to_the_last(site: Site, kappa: Command) -> None:
    topic = site.topic(2)
    schema_id = site.schema_id(topic)
    site.publish(topic, [good(schema_id, n % 2, one) for n, one in enumerate(readings(60, seed=1))])
    name = site.processor(TOTALS + TWO.partition("\n\n")[2], topic, ("processor", "second"))
    rows = f"SELECT sensor, window_start, readings, total, most FROM {name} ORDER BY 1, 2"

    build = ("replay", name, "--version", "1", "--batch-size", "7")
    kappa(*build, killed_at="version_created")
    kappa(*build, killed_at="rows_begun@2")
    assert 0 < sum(site.positions(name).values()) < 60
    for step in ("finish_merged", "finish_written"):
        kappa(*build, killed_at=step)
        assert states(site.engine, name) == {1: State.BUILDING}, step
        assert site.positions(name) == site.ends(topic), step
    kappa(*build, killed_at="version_finished")
    assert states(site.engine, name) == {1: State.READY}
    kappa("replay", name, "--version", "1")
    kappa("promote", name, "--version", "1", killed_at="promoted")
    assert states(site.engine, name) == {1: State.SERVING}
    assert "already" in kappa("promote", name, "--version", "1")
    served = site.query(rows)

    kappa("replay", name, "--version", "2")
    for step in ("promote_locked", "promote_written", "promote_moved"):
        kappa("promote", name, killed_at=step)
        assert states(site.engine, name) == {1: State.SERVING, 2: State.READY}, step
        assert active(site.engine, name) == 1
    kappa("promote", name)
    assert states(site.engine, name) == {1: State.STANDBY, 2: State.SERVING}
    kappa("rollback", name, killed_at="promote_moved")
    assert active(site.engine, name) == 2
    kappa("rollback", name, killed_at="promoted")
    kappa("rollback", name, refused=4)
    assert active(site.engine, name) == 1, "run again, it does not undo itself"
    kappa("promote", name)
    assert active(site.engine, name) == 2
    assert site.query(rows) == served

    retire = ("retire", name, "--version", "1", "--force", "--yes")
    kappa(*retire, killed_at="retire_dropped")
    assert states(site.engine, name) == {1: State.STANDBY, 2: State.SERVING}
    assert site.query(f"SELECT count(*) FROM {name}__v1")[0][0] == len(served)
    kappa(*retire, killed_at="retired")
    assert "already" in kappa(*retire)
    assert states(site.engine, name) == {1: State.RETIRED, 2: State.SERVING}
    assert site.query(rows) == served


def test_what_a_killed_build_has_left_goes_with_an_abort(site: Site, kappa: Command) -> None:
    """Its steps stay, as of all that is retired, and how far it had come."""
    topic = site.topic(2)
    schema_id = site.schema_id(topic)
    made = [good(schema_id, n % 2, one) for n, one in enumerate(readings(100, seed=1))]
    site.publish(topic, [Unsent(0, b"s1", b"no reading"), *made])
    name = site.processor(TOTALS, topic)
    kappa("replay", name, "--batch-size", "20", killed_at="committed@3")
    assert 3 <= sum(site.positions(name).values()) < 101
    assert {f"{name}__v1", f"{name}__v1__late"} <= _relations(site, name)
    stays = {"processor", "version", "transition", "offset", "finality"}
    assert _kept(site, name) == {*stays, "dead_letter"}

    assert abort(site.settings, name, None).changed
    assert _relations(site, name) == set()
    assert _kept(site, name) == stays
    assert states(site.engine, name) == {1: State.RETIRED}


def _relations(site: Site, name: str) -> set[str]:
    """Everything of that name: tables, views, indexes, types of rows."""
    found = site.query(
        "SELECT relname AS name FROM pg_class WHERE starts_with(relname, :n)"
        " UNION SELECT typname FROM pg_type WHERE starts_with(ltrim(typname, '_'), :n)",
        n=name,
    )
    return {row.name for row in found}


def _kept(site: Site, name: str) -> set[str]:
    """Kappa's own tables in which the processor has rows."""
    inspector = sa.inspect(site.engine)
    kept = set()
    for table in inspector.get_table_names():
        columns = {column["name"] for column in inspector.get_columns(table)}
        named = columns & {"processor", "name"} if table.startswith("kappa_") else ()
        if any(site.query(f"SELECT 1 FROM {table} WHERE {one} = :n", n=name) for one in named):
            kept.add(table.removeprefix("kappa_"))
    return kept


@pytest.fixture
def name(engine: Engine, unique: Unique) -> str:
    """Version 1 serves; version 2 is as far."""
    return side_by_side(engine, unique("killed"))


def test_killed_in_a_drain_the_next_promote_goes_on(
    engine: Engine, name: str, kappa: Command
) -> None:
    """Version 2 copies each step of version 1, and reaches it only where that stands still."""

    def behind(at: int) -> int:
        one = offset(engine, name, 1)
        return max(at, one if states(engine, name)[1] is State.DRAINING else one - 1)

    with worker(engine, name, 1, lambda at: at + 1), worker(engine, name, 2, behind):
        kappa("promote", name, "--version", "2", killed_at="drained")
        assert states(engine, name) == {1: State.DRAINING, 2: State.READY}
        assert shown(engine, name) == 1
        kappa("promote", name, "--version", "2")
    assert states(engine, name) == {1: State.STANDBY, 2: State.SERVING}


def test_killed_before_any_statement_nothing_has_happened(
    engine: Engine, site: Site, name: str
) -> None:
    url = site.settings.postgres.url.get_secret_value()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([killed_at.__name__])
    killed = 0
    while True:
        process = context.Process(target=killed_at.run, args=(url, name, 2, killed + 1))
        process.start()
        process.join(60)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        killed += 1
        assert active(engine, name) == 1, f"before statement {killed}"
        assert states(engine, name) == {1: State.SERVING, 2: State.READY}
        assert shown(engine, name) == 1
    assert killed > 20, "that is about how many statements a promote has"
    assert states(engine, name) == {1: State.STANDBY, 2: State.SERVING}
    assert shown(engine, name) == 2
