"""A broker or a database that is killed, stopped or paused, in a stack of these tests' own."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from kappa.dev import stack as dev
from kappa.tables import migrate
from kappa.tables.engine import connect
from tests.conftest import server_home
from tests.faults import Site, open_site, wait_until
from tests.live.invariants import check
from tests.live.running import Run
from tests.live.scenes import Scene


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


def more_errors(run: Run, than: int) -> bool:
    return len(run.errors()) > than


def following(here: Scene) -> Run:
    """A run that has begun to follow."""
    run = here.run()
    here.publish()
    here.catch_up()
    return run


def test_the_broker_is_killed_and_started_again(
    directory: Path, scene: Callable[..., Scene]
) -> None:
    """At once, and after the workers have noticed."""
    here = scene()
    run = following(here)
    for noticed in (False, True):
        here.publish()
        end(family(directory, "kafka"), signal.SIGKILL)
        if noticed:
            wait_until("it is noticed", partial(more_errors, run, len(run.errors())))
        up(directory)
        here.publish()
        here.catch_up()
    check(here)
    assert run.running


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGQUIT])
def test_the_database_is_killed_and_started_again(
    directory: Path, scene: Callable[..., Scene], how: signal.Signals
) -> None:
    """SIGQUIT is PostgreSQL's immediate stop."""
    here = scene()
    run = following(here)
    here.publish()
    end(family(directory, "postgres"), how)
    here.publish()
    wait_until("it is noticed", lambda: "DatabaseUnavailable" in run.errors())
    up(directory)
    here.publish()
    check(here)
    assert run.running


def test_the_database_is_paused(directory: Path, scene: Callable[..., Scene]) -> None:
    here = scene()
    run = following(here)
    paused = family(directory, "postgres")
    for process in paused:
        process.suspend()
    here.publish()
    for process in paused:
        process.resume()
    here.publish()
    check(here)
    assert run.running
