"""A reader whose snapshot is older than a new version's last rows is waited for, and when.

version 2  ─┤ caught up ├─ looked for old readers ─┤ behind ├────────┤ caught up ├─ looked again
reader                                                 ├─ snapshot ─────────────────────┤
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from threading import Event

import pytest
from sqlalchemy import Engine, text

from kappa.errors import NotCaughtUp
from kappa.runtime.worker.claiming import claim
from kappa.tables import progress, sink
from kappa.tables.progress import Advance
from kappa.versions.deployment import Options
from kappa.versions.promote import Persistence, Promoted, promote
from tests.faults import beside, wait_until
from tests.integration.tables_scenes import (
    item_rows,
    items,
    old_snapshot,
    ready,
    side_by_side,
    wait_until_blocked,
)
from tests.integration.test_promote import active, shown

Unique = Callable[[str], str]
PLACE = ("t", 0)
PATIENT = Persistence(60_000, deadline_s=60, unread_s=60, drain_after=None)


@pytest.fixture
def name(engine: Engine, unique: Unique) -> str:
    """Version 1 serves, version 2 is as far; each has one row that says which wrote it."""
    return side_by_side(engine, unique("old"))


def step(engine: Engine, name: str, version: int) -> Advance:
    """The next record, for whoever claims the version's partition."""
    held = claim(engine, name, version, [PLACE], "worker")[PLACE]
    return Advance(*PLACE, held.epoch, held.next_offset, held.next_offset + 1, None, None, 1)


def test_who_came_while_it_was_behind_is_waited_for_too(engine: Engine, name: str) -> None:
    heard: list[str] = []
    done: list[Promoted] = []

    def go(_: Event) -> None:
        done.append(promote(engine, {name: 2}, who="t", persistence=PATIENT, listener=heard.append))

    def says(words: str) -> Callable[[], bool]:
        return lambda: bool(done) or any(words in said for said in heard)

    ahead = step(engine, name, 1)
    with ExitStack() as promoting:
        with engine.begin() as worker:
            progress.advance(worker, name, 1, [ahead])
            promoting.enter_context(beside(go))
            wait_until_blocked(engine)  # the swap, which has looked for old readers
        wait_until("it is behind", says("behind"))
        with old_snapshot(engine) as reader:
            after = step(engine, name, 2)
            with engine.begin() as worker:
                progress.advance(worker, name, 2, [after])
                worker.execute(text("SELECT pg_sleep(0.5)"))  # the promote looks meanwhile
            wait_until("the reader is waited for", says("older than the promote"))
            assert not done
            assert reader.execute(text(f"SELECT max(id) FROM {name}")).scalar_one() == 1
    assert done[0].changed
    assert shown(engine, name) == 2


def test_where_it_is_behind_nobody_is_waited_for(engine: Engine, name: str) -> None:
    ahead = step(engine, name, 1)
    with engine.begin() as worker:
        progress.advance(worker, name, 1, [ahead])
    impatient = Persistence(deadline_s=5, unread_s=0)
    with old_snapshot(engine), pytest.raises(NotCaughtUp):
        promote(engine, {name: 2}, who="test", persistence=impatient)
    assert active(engine, name) == 1


def test_an_old_reader_is_ignored_where_that_is_meant(engine: Engine, unique: Unique) -> None:
    """It finds what its snapshot has of the new table: nothing."""
    name = unique("ignored")
    ready(engine, items(name, 1), [10])
    promote(engine, {name: 1}, who="test")
    with old_snapshot(engine) as reader:
        layout = ready(engine, items(name, 2), [10])
        with engine.begin() as conn:
            sink.upsert(conn, layout, item_rows(layout, 1))
        options = Options(ignore_snapshots=True)
        assert promote(engine, {name: 2}, who="test", options=options).changed
        assert reader.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() == 0
    assert shown(engine, name) == 2
