"""Promotes meet readers, workers, other promotes and lost connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from threading import Barrier, Event, Thread
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from kappa.errors import (
    DatabaseUnavailable,
    Fenced,
    IllegalTransition,
    KappaError,
    LockTimeout,
    NotCaughtUp,
)
from kappa.tables import progress, sink
from kappa.tables.engine import connect, set_lock_timeout
from kappa.tables.progress import Advance
from kappa.versions.lifecycle import State
from kappa.versions.promote import Persistence, Promoted, promote
from tests.faults import beside, wait_until
from tests.integration.postgres_proxy import CommitProxy
from tests.integration.tables_scenes import (
    exclusive_attempt,
    item_rows,
    items,
    ready,
    wait_until_blocked,
)
from tests.integration.test_promote import active, shown, states

Unique = Callable[[str], str]


@pytest.fixture
def name(engine: Engine, unique: Unique) -> str:
    """Version 1 serves, version 2 is as far; each has one row that says which wrote it."""
    name = unique("swap")
    for version in (1, 2):
        layout = ready(engine, items(name, version), [10, 20])
        with engine.begin() as conn:
            sink.upsert(conn, layout, item_rows(layout, 1))
    promote(engine, {name: 1}, who="test")
    return name


@contextmanager
def reader(engine: Engine, name: str) -> Iterator[Connection]:
    """A transaction that has read the view and idles."""
    with engine.connect() as conn:
        conn.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        conn.execute(text(f"SELECT * FROM {name}"))
        yield conn
        conn.rollback()


ATTEMPTS, READERS, READS = 4, 4, 3
MOST_MS = 5_000
"""How long others may be kept from the view: many times what one attempt of a promote takes."""


class Reading:
    """A session that reads the view again and again, and gives up where it waits for MOST_MS."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.reads = 0
        self.seen: set[int] = set()
        self.errors: list[KappaError] = []
        self._engine = engine
        self._query = text(f"SELECT max(id) FROM {name}")

    def run(self, over: Event) -> None:
        try:
            while not over.is_set():
                with self._engine.begin() as conn:
                    set_lock_timeout(conn, MOST_MS)
                    self.seen.add(conn.execute(self._query).scalar_one())
                self.reads += 1
        except KappaError as error:
            self.errors.append(error)


def test_an_idle_reader_is_waited_for_and_nobody_else_is_stalled(engine: Engine, name: str) -> None:
    """While the swap is tried again and again, others read the view in between."""
    done: list[Promoted] = []
    others = [Reading(engine, name) for _ in range(READERS)]
    before: list[int] = []
    attempts: set[datetime] = set()

    def go(_: Event) -> None:
        done.append(promote(engine, {name: 2}, who="test", persistence=Persistence(deadline_s=60)))

    def have_read() -> bool:
        if attempt := exclusive_attempt(engine):
            attempts.add(attempt)
            before[:] = before or [one.reads for one in others]
        if any(one.errors for one in others):
            return True
        read = [one.reads - count for one, count in zip(others, before, strict=False)]
        return len(attempts) >= ATTEMPTS and min(read) >= READS

    with ExitStack() as promoting:
        with reader(engine, name), ExitStack() as reading:
            promoting.enter_context(beside(go))
            for one in others:
                reading.enter_context(beside(one.run))
            wait_until("all read between attempts", have_read, 60, 0.001)
            assert not done
        assert [one.errors for one in others] == [[]] * READERS
        assert all(one.seen == {1} for one in others)
    assert done[0].attempts >= ATTEMPTS
    assert shown(engine, name) == 2


def test_a_reader_that_stays_wins_and_nothing_has_changed(engine: Engine, name: str) -> None:
    with reader(engine, name), pytest.raises(LockTimeout):
        promote(engine, {name: 2}, who="test", persistence=Persistence(5, deadline_s=0.2))
    assert states(engine, name) == {1: State.SERVING, 2: State.READY}
    assert active(engine, name) == 1
    with engine.begin() as conn:
        claimed = progress.claim(conn, name, 1, [("t", 0)], "w")["t", 0]
    assert claimed.epoch == 2, "only the first promote and this claim moved it"


def test_of_two_promotes_of_one_version_one_does_it(engine: Engine, name: str) -> None:
    done: list[Promoted] = []
    met = Barrier(2)

    def go() -> None:
        met.wait()
        done.append(promote(engine, {name: 2}, who="test", persistence=Persistence(2000)))

    _run(go, go)
    assert sorted(result.changed for result in done) == [False, True]
    with engine.begin() as conn:
        count = text("SELECT count(*) FROM kappa_history WHERE processor = :p AND to_version = 2")
        assert conn.scalar(count, {"p": name}) == 1


def test_a_promote_whose_blue_has_changed_meanwhile_is_refused(engine: Engine, name: str) -> None:
    """It was planned while version 1 served; version 3 came in between."""
    errors: list[KappaError] = []
    thread = Thread(target=lambda: errors.append(_error(engine, name)))
    with engine.begin() as conn:
        conn.execute(text("SELECT 1 FROM kappa_processor WHERE name = :n FOR UPDATE"), {"n": name})
        thread.start()
        wait_until_blocked(engine)
        third = text("UPDATE kappa_processor SET active_version = 3 WHERE name = :n")
        conn.execute(third, {"n": name})
    thread.join()
    assert [type(error) for error in errors] == [IllegalTransition]
    assert "version 3 was promoted meanwhile" in errors[0].message


def test_a_step_of_blue_that_commits_first_is_seen(engine: Engine, name: str) -> None:
    """The promote waits for the worker's row lock, and compares what it left."""
    errors: list[KappaError] = []
    thread = Thread(target=lambda: errors.append(_error(engine, name)))
    step = _claim_and_step(engine, name)
    with engine.begin() as worker:
        progress.advance(worker, name, 1, [step])
        thread.start()
        wait_until_blocked(engine)
    thread.join()
    assert [type(error) for error in errors] == [NotCaughtUp]
    assert (errors[0].detail["offset"], errors[0].detail["served"]) == (10, 11)


def test_a_step_of_blue_that_comes_later_is_fenced(engine: Engine, name: str) -> None:
    """Between comparison and commit blue cannot move; afterwards its epoch is old."""
    errors: list[KappaError] = []
    step = _claim_and_step(engine, name)

    def advance() -> None:
        try:
            with engine.begin() as conn:
                progress.advance(conn, name, 1, [step])
        except KappaError as error:
            errors.append(error)

    swap = Thread(
        target=lambda: promote(
            engine, {name: 2}, who="test", persistence=Persistence(60_000, unread_s=0)
        )
    )
    worker = Thread(target=advance)
    with reader(engine, name):
        swap.start()
        wait_until_blocked(engine)  # the swap, by the reader
        worker.start()
        wait_until_blocked(engine, sessions=2)
    swap.join()
    worker.join()
    assert [type(error) for error in errors] == [Fenced]
    assert active(engine, name) == 2


def test_readers_see_one_version_at_a_time_and_no_error(engine: Engine, name: str) -> None:
    seen: list[tuple[int, int]] = []
    errors: list[KappaError] = []
    over = Event()

    def poll() -> None:
        query = text(f"SELECT min(id), max(amount) FROM {name}")
        try:
            while not over.is_set():
                with engine.begin() as conn:
                    row = conn.execute(query).one()
                    seen.append((row[0], row[1]))
        except KappaError as error:
            errors.append(error)

    thread = Thread(target=poll)
    thread.start()
    for version in (2, 1, 2, 1, 2):
        promote(engine, {name: version}, who="test", persistence=Persistence(deadline_s=60))
        moved = len(seen)
        while len(seen) < moved + 2 and not errors:
            over.wait(0.001)
    over.set()
    thread.join()
    assert errors == []
    assert set(seen) == {(1, 1), (2, 2)}


def test_a_commit_without_an_answer_has_happened(engine: Engine, name: str) -> None:
    with CommitProxy(engine) as proxy:
        proxied = connect(proxy.url)
        proxy.cut = "answer"
        done = promote(proxied, {name: 2}, who="test", deployment_id=(deployment := uuid4()))
        proxied.dispose()
    assert proxy.cuts == 1
    assert (done.changed, done.deployment_id) == (True, deployment)
    assert [at.next_offset for at in done.moves[0].offsets] == [10, 20]
    assert active(engine, name) == 2


def test_a_commit_still_on_its_way_is_waited_for(engine: Engine, name: str) -> None:
    """A plain look at the history would come too early."""
    with CommitProxy(engine) as proxy:
        proxied = connect(proxy.url)
        proxy.cut = lambda: wait_until_blocked(engine)
        assert promote(proxied, {name: 2}, who="test").changed
        proxied.dispose()
    assert proxy.cuts == 1
    assert active(engine, name) == 2


def test_a_commit_that_never_arrived_has_not(engine: Engine, name: str) -> None:
    with CommitProxy(engine) as proxy:
        proxied = connect(proxy.url)
        proxy.cut = "commit"
        with pytest.raises(DatabaseUnavailable) as caught:
            promote(proxied, {name: 2}, who="test")
        proxied.dispose()
    assert proxy.cuts == 1
    assert caught.value.detail.get("outcome") is None
    assert active(engine, name) == 1
    assert promote(engine, {name: 2}, who="test").changed


def _error(engine: Engine, name: str) -> KappaError:
    """The error with which a promote of version 2 ends."""
    try:
        promote(engine, {name: 2}, who="test", persistence=Persistence(60_000, unread_s=0))
    except KappaError as error:
        return error
    raise AssertionError("it was not refused")


def _claim_and_step(engine: Engine, name: str) -> Advance:
    with engine.begin() as conn:
        claimed = progress.claim(conn, name, 1, [("t", 0)], "worker")["t", 0]
    return Advance("t", 0, claimed.epoch, 10, 11, None, None, 1)


def _run(*targets: Callable[[], None]) -> None:
    threads = [Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
