"""A broker or a database that is killed, stopped or paused, in a stack of these tests' own."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from psycopg.conninfo import conninfo_to_dict

from kappa.dev import stack as dev
from tests.conftest import server_home
from tests.faults import Site, migrated_site, wait_until
from tests.live.invariants import check
from tests.live.running import Run
from tests.live.scenes import Scene

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
    plugins = tmp_path_factory.mktemp("site") / "plugins"
    servers = endpoints["bootstrap_servers"], endpoints["postgres_url"]
    with migrated_site(*servers, plugins) as site:
        yield site


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


def test_the_broker_is_killed_and_started_again(
    directory: Path, scene: Callable[..., Scene]
) -> None:
    """At once; it takes some seconds until it answers."""
    here = scene()
    run = here.followed()
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
    run = here.followed()
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
    run = here.followed()
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
