"""Sessions at the database that are ended, and a COMMIT that arrives when nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from threading import Event

import pytest
from psycopg.conninfo import make_conninfo

from tests.faults import wait_until
from tests.integration.postgres_proxy import CommitProxy
from tests.live.invariants import check
from tests.live.scenes import Scene

TIMES = 3


@pytest.fixture
def released() -> Iterator[Event]:
    """Set in the end in any case: a thread of the proxy waits for it."""
    event = Event()
    yield event
    event.set()


def hold(released: Event) -> None:
    released.wait(90)


def test_every_session_is_ended(scene: Callable[..., Scene]) -> None:
    here = scene()
    run = here.run()
    here.publish()
    here.catch_up()
    for _ in range(TIMES):
        here.publish()
        assert writing(here) <= end_all(here)
        here.publish()
        here.catch_up()
    check(here)
    assert run.running


def writing(here: Scene) -> set[int]:
    """The sessions that commit."""
    found = here.site.query(
        "SELECT DISTINCT backend_pid FROM kappa_offset WHERE processor = :name", name=here.name
    )
    return {row[0] for row in found}


def end_all(here: Scene) -> set[int]:
    """Ends the sessions of every kappa at this database; those that it has ended."""
    found = here.site.query(
        "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND datname = current_database() AND application_name = 'kappa'"
    )
    pids = {row[0] for row in found}
    return {
        pid for pid in pids if here.site.query("SELECT 1 WHERE pg_terminate_backend(:pid)", pid=pid)
    }


def test_a_commit_is_held_until_its_batch_was_run_again(
    scene: Callable[..., Scene], released: Event
) -> None:
    """The session it belongs to was ended meanwhile, and it changes nothing any more."""
    here = scene()
    with CommitProxy(here.site.engine, after=f"{here.name}__v1".encode(), most=0) as proxy:
        run = here.run(environment={"KAPPA_POSTGRES__URL": make_conninfo(proxy.url)})
        here.publish()
        here.catch_up()
        proxy.most, proxy.cut = 1, partial(hold, released)
        here.publish()
        wait_until("a COMMIT is held", lambda: proxy.cuts == 1)
        here.publish()
        here.catch_up()
        released.set()
        here.publish()
        check(here)
        assert run.running
