"""A broker or a database that is killed, stopped or paused, in a stack of these tests' own."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Event

import psutil
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kappa.dev import account, lifecycle
from kappa.dev import stack as dev
from kappa.dev.postgres import Postgres
from kappa.dev.task import Task
from kappa.errors import DatabaseUnavailable
from kappa.tables import migrate
from kappa.tables.engine import connect
from tests.conftest import server_home
from tests.faults import Site, open_site, wait_until
from tests.live.invariants import check, check_now
from tests.live.running import Run
from tests.live.scenes import Scene
from tests.readings import TOTALS

SMALL_BYTES = 48 << 20
"""Of the small disk: an empty database takes eight megabytes."""
CONFINED_BYTES = 160 << 20
"""Of one for a whole server: without a table it takes sixty megabytes, most of it its log."""
GONE_S = 60.0


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """Of a running stack."""
    with server_home() as home:
        try:
            up(home / ".kappa")
            yield home / ".kappa"
        finally:
            dev.reset(home / ".kappa", lambda said: None)


@pytest.fixture(scope="module")
def site(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same kind of site as elsewhere, at these servers."""
    endpoints = json.loads((directory / "endpoints.json").read_text())
    url = endpoints["postgres_url"]
    engine = connect(url)
    migrate.upgrade(engine)
    plugins = tmp_path_factory.mktemp("plugins")
    with contextmanager(open_site)(endpoints["bootstrap_servers"], url, engine, plugins) as site:
        yield site
    engine.dispose()


def up(directory: Path) -> None:
    """Starts whatever does not run, at the ports it had."""
    dev.up(directory, lambda said: None)


def family(directory: Path, name: str) -> list[psutil.Process]:
    """The process of a server and all below it."""
    root = psutil.Process(next(one.pid for one in dev.status(directory) if one.name == name))
    return [root, *root.children(recursive=True)]


def end(processes: list[psutil.Process], how: signal.Signals) -> None:
    """Signals the first of them and waits until none is left."""
    processes[0].send_signal(how)
    _, left = psutil.wait_procs(processes, 30)
    assert left == []


def troubles(run: Run, error: str) -> int:
    """How often it has told of such an error."""
    return run.errors().count(error)


def following(here: Scene) -> Run:
    """A run that has begun to follow, and soon says that a broker does not answer."""
    run = here.run(environment={"KAPPA_KAFKA__DEFAULT_API_TIMEOUT_MS": "1500"})
    here.publish()
    here.catch_up()
    return run


def test_the_broker_is_killed_and_started_again(
    directory: Path, scene: Callable[..., Scene]
) -> None:
    """At once; it takes some seconds until it answers."""
    here = scene()
    run = following(here)
    (worker,) = run.workers()
    here.publish()
    end(family(directory, "kafka"), signal.SIGKILL)
    up(directory)
    assert troubles(run, "BrokerUnavailable") > 0
    here.publish()
    check(here)
    assert run.workers() == [worker]


def test_the_broker_is_gone_for_a_minute(directory: Path, scene: Callable[..., Scene]) -> None:
    """Longer than a group, a session or a request waits; the worker says so all the time."""
    here = scene()
    run = following(here)
    here.publish()
    end(family(directory, "kafka"), signal.SIGKILL)
    began = time.monotonic()
    wait_until("a minute is over", lambda: time.monotonic() - began > GONE_S, GONE_S + 30)
    told = troubles(run, "BrokerUnavailable")
    wait_until("it is told still", lambda: troubles(run, "BrokerUnavailable") > told)
    up(directory)
    here.publish()
    check(here)


def test_the_database_is_lost_and_comes_back(directory: Path, scene: Callable[..., Scene]) -> None:
    """It is killed, then stopped as by ``pg_ctl stop -m immediate``, then paused."""
    here = scene()
    run = following(here)
    (worker,) = run.workers()
    for how in (signal.SIGKILL, signal.SIGQUIT):
        here.publish()
        before = troubles(run, "DatabaseUnavailable")
        end(family(directory, "postgres"), how)
        here.publish()
        wait_until("it is told", lambda than=before: troubles(run, "DatabaseUnavailable") > than)
        up(directory)
        here.publish()
        here.catch_up()
    paused = family(directory, "postgres")
    for process in paused:
        process.suspend()
    here.publish()
    wait_until("a statement of the worker's waits", lambda: waits(worker, port(here.site)))
    for process in paused:
        process.resume()
    here.publish()
    check(here)
    assert run.workers() == [worker]


def port(site: Site) -> int:
    """PostgreSQL's."""
    return int(conninfo_to_dict(site.settings.postgres.url.get_secret_value())["port"] or 0)


def waits(client: psutil.Process, server_port: int) -> bool:
    """Whether something that the client sent to the server lies there unread."""
    ports = {one.laddr.port for one in client.net_connections("tcp")}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        ends = int(local.partition(":")[2], 16), int(remote.partition(":")[2], 16)
        if ends[0] == server_port and ends[1] in ports and int(queues.partition(":")[2], 16):
            return True
    return False


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
def small(directory: Path) -> Iterator[Path]:
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
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE small LOCATION '{small}'".encode())
        connection.execute("CREATE DATABASE cramped TABLESPACE small")
    here = make_conninfo(url, dbname="cramped")
    engine = connect(here)
    migrate.upgrade(engine)
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    with contextmanager(open_site)(site.kafka.bootstrap_servers, here, engine, plugins) as one:
        yield one
    engine.dispose()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP DATABASE cramped WITH (FORCE)")
        connection.execute("DROP TABLESPACE small")


def test_the_disk_is_full_and_then_not(cramped: Site, small: Path, tmp_path: Path) -> None:
    """Nothing is half written, and the commit that met it is repeated until there is room."""
    with closing(Scene(cramped, tmp_path, TOTALS, 3, {})) as here:
        run = following(here)
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
    engine = connect(url)
    migrate.upgrade(engine)
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    with contextmanager(open_site)(site.kafka.bootstrap_servers, url, engine, plugins) as one:
        yield one
    engine.dispose()


def test_there_is_no_room_for_the_databases_log(
    within: Site, confined: Postgres, tmp_path: Path
) -> None:
    """PostgreSQL panics, and does not come up until there is room and it is started again."""
    with closing(Scene(within, tmp_path, TOTALS, 3, {})) as here:
        run = following(here)
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
