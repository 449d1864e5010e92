"""A disk of PostgreSQL's that is full for a while: its tables', or that of all it keeps."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Event
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from kappa.dev import account, lifecycle
from kappa.dev.postgres import Postgres
from kappa.dev.task import Task
from kappa.errors import DatabaseUnavailable
from tests.conftest import server_home
from tests.faults import Site, migrated_site, wait_until
from tests.live.invariants import check, check_now
from tests.live.scenes import Scene
from tests.readings import TOTALS

SMALL_BYTES = 48 << 20
"""Of the tables' disk: an empty database takes eight megabytes."""
CONFINED_BYTES = 160 << 20
"""Of one for a whole server: without a table it takes sixty megabytes, most of it its log."""


@contextmanager
def disk(size_bytes: int) -> Iterator[Path]:
    """A disk of this size; where there can be none the test is skipped, and says so."""
    with server_home() as home:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(home)],
            capture_output=True,
            text=True,
        )
        if mounted.returncode != 0:
            pytest.skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
        try:
            yield home
        finally:
            subprocess.run(["umount", "--lazy", str(home)], check=True)


@pytest.fixture
def small() -> Iterator[Path]:
    """A directory on a disk of a few megabytes that PostgreSQL may write to."""
    with disk(SMALL_BYTES) as home:
        task = Task(lambda said: None, Event())
        tablespace = home / "tablespace"
        tablespace.mkdir()
        account.open_way_to(tablespace, task)
        account.give(tablespace)
        yield tablespace


@pytest.fixture
def cramped(site: Site, small: Path, tmp_path: Path) -> Iterator[Site]:
    """A site at a database on the small disk."""
    url = site.settings.postgres.url.get_secret_value()
    name = f"cramped_{uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE {name} LOCATION '{small}'".encode())
        connection.execute(f"CREATE DATABASE {name} TABLESPACE {name}".encode())
        here = make_conninfo(url, dbname=name)
        with migrated_site(site.kafka.bootstrap_servers, here, tmp_path / "plugins") as one:
            yield one
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        connection.execute(f"DROP TABLESPACE {name}".encode())


def test_the_disk_is_full_and_then_not(cramped: Site, small: Path, tmp_path: Path) -> None:
    """Nothing is half written, and the commit that met it is repeated until there is room."""
    with closing(Scene(cramped, tmp_path, TOTALS, 3, {})) as here:
        run = here.followed()
        (worker,) = run.workers()
        ballast = small.parent / "ballast"
        fill(ballast)

        def told() -> bool:
            here.publish(600)
            return "DatabaseUnavailable" in run.errors()

        wait_until("a table cannot grow", told, pause_s=0.2)
        assert "No space left on device" in run.log.read_text()
        worker.suspend()
        assert here.lag > 0
        check_now(here)
        worker.resume()
        ballast.unlink()
        check(here)
        assert run.workers() == [worker]


@pytest.fixture
def confined() -> Iterator[Postgres]:
    """A PostgreSQL of its own that has all it keeps, its log too, on a small disk."""
    with disk(CONFINED_BYTES) as home:
        postgres = Postgres(home / "postgres")
        lifecycle.start(postgres, Task(lambda said: None, Event()))
        try:
            yield postgres
        finally:
            lifecycle.stop(postgres)


@pytest.fixture
def within(confined: Postgres, site: Site, tmp_path: Path) -> Iterator[Site]:
    """A site at that PostgreSQL."""
    url = lifecycle.describe(confined).endpoint
    assert url is not None
    with migrated_site(site.kafka.bootstrap_servers, url, tmp_path / "plugins") as one:
        yield one


def test_there_is_no_room_for_the_databases_log(
    within: Site, confined: Postgres, tmp_path: Path
) -> None:
    """PostgreSQL panics, and does not come up until there is room and it is started again."""
    with closing(Scene(within, tmp_path, TOTALS, 3, {})) as here:
        run = here.followed()
        (worker,) = run.workers()
        ballast = confined.home / "ballast"
        fill(ballast)

        def told() -> bool:
            with suppress(DatabaseUnavailable):
                within.query("SELECT pg_switch_wal()")  # or it has room for sixteen megabytes
            here.publish(600)
            return "DatabaseUnavailable" in run.errors()

        wait_until("the log cannot grow", told, pause_s=0.2)
        assert "No space left on device" in confined.log.read_text()
        ballast.unlink()
        lifecycle.start(confined, Task(lambda said: None, Event()))
        here.publish()
        check(here)
        assert run.workers() == [worker]


def fill(ballast: Path) -> None:
    """Until nothing more can be written there."""
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
