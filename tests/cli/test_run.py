"""``kappa run`` as a process, or several: it follows, stops when asked, and takes over."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from kappa.config import Settings
from tests.conftest import Finished
from tests.orders import Shop, open_shop, orders, publish

Kappa = Callable[..., Finished]
Plugin = Callable[[str, str], None]
Unique = Callable[[str], str]

COUNT = 600
PATIENCE_S = 60


class Site:
    """A shop, its database, and kappa processes beside the test."""

    def __init__(
        self, shop: Shop, database: str, settings: Settings, env: dict[str, str], directory: Path
    ) -> None:
        self.shop = shop
        self.directory = directory
        self._database = database
        self._settings = settings
        self._env = env

    def publish(self, count: int, seed: int) -> None:
        publish(self._settings, self.shop.topic, self.directory, orders(count, seed=seed))

    @contextmanager
    def running(self, *args: str) -> Iterator[subprocess.Popen[bytes]]:
        """``kappa ARGS…`` in a process group of its own, killed at the end if it is still there."""
        process = subprocess.Popen(
            [sys.executable, "-m", "kappa", *args],
            cwd=self.directory,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def query(self, text: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self._database) as connection:
            return connection.execute(text).fetchall()

    def execute(self, text: str) -> None:
        with psycopg.connect(self._database) as connection:
            connection.execute(text)

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Every row of the table is locked for others."""
        with psycopg.connect(self._database) as connection:
            connection.execute(f"SELECT FROM {table} FOR UPDATE")
            yield

    def locked_out(self) -> int:
        """How many sessions wait for a lock."""
        ((count,),) = self.query(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(str(count))

    def position(self, version: int = 1) -> int:
        """Offsets passed in all partitions, and the table's records: they are always the same."""
        ((passed,),) = self.query(
            f"SELECT sum(next_offset)::bigint FROM kappa_offset WHERE version = {version}"
        )
        assert isinstance(passed, int)
        return passed

    def counted(self, version: int = 1) -> object:
        table = f"{self.shop.processor}__v{version}"
        ((found,),) = self.query(
            f"SELECT (SELECT sum(orders) FROM {table}) + (SELECT count(*) FROM {table}__late)"
        )
        return found

    def owners(self) -> set[object]:
        return {owner for (owner,) in self.query("SELECT owner FROM kappa_offset")}

    def held(self) -> dict[object, tuple[object, int]]:
        """By partition: who holds it, and how far it has come."""
        found = self.query("SELECT partition, owner, next_offset FROM kappa_offset")
        return {partition: (owner, int(str(offset))) for partition, owner, offset in found}

    def advanced(self, since: dict[object, tuple[object, int]]) -> set[object]:
        """Who has committed records of a partition that was theirs already then."""
        return {
            owner
            for partition, (owner, offset) in self.held().items()
            if since[partition][0] == owner and offset > since[partition][1]
        }

    def wait_for(self, position: int, version: int = 1) -> None:
        wait(lambda: self.position(version) >= position, f"offset {position}")


def wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def stop(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(30)


@pytest.fixture
def site(
    settings: Settings,
    plugin: Plugin,
    unique: Unique,
    database: str,
    environment: dict[str, str],
    tmp_path: Path,
) -> Site:
    shop = open_shop(settings, plugin, unique, tmp_path, records=orders(COUNT, seed=7))
    return Site(shop, database, settings, environment, tmp_path)


def test_what_is_built_is_followed_and_a_stop_leaves_nothing_half_done(
    site: Site, kappa: Kappa
) -> None:
    with site.running("run", "--workers", "2") as run:  # before there is anything to follow
        assert kappa("replay", site.shop.processor).code == 0
        assert kappa("promote", site.shop.processor).code == 0
        wait(lambda: len(workers_at_work(site, run)) == 2, "its workers to share the partitions")
        site.publish(COUNT, seed=8)
        site.wait_for(2 * COUNT)
        assert site.counted() == 2 * COUNT

        # A promote bumps the epochs: who is fenced takes over from itself.
        site.execute("UPDATE kappa_offset SET epoch = epoch + 1")
        site.publish(COUNT, seed=9)
        site.wait_for(3 * COUNT)
        assert stop(run) == 0
    assert site.counted() == site.position() == 3 * COUNT


def test_a_stop_of_the_whole_process_group_lets_workers_finish_their_batches(
    site: Site, kappa: Kappa
) -> None:
    """As systemd sends it: the signal comes to the workers too, while each commits a batch."""
    assert kappa("replay", site.shop.processor).code == 0
    with site.running("run", "--workers", "2", "--max-batch", "20") as run:
        wait(lambda: len(workers_at_work(site, run)) == 2, "its workers to share the partitions")
        with site.locked("kappa_offset"):
            site.publish(COUNT, seed=8)
            wait(lambda: site.locked_out() == 2, "both to commit")
            os.killpg(run.pid, signal.SIGTERM)
        assert run.wait(30) == 0
        assert b"WorkerDied" not in run.communicate()[1]
    assert site.counted() == site.position() > COUNT
    assert site.query("SELECT 1 FROM kappa_worker") == []


def test_a_retired_version_is_let_go(site: Site, kappa: Kappa) -> None:
    assert kappa("replay", site.shop.processor).code == 0
    with site.running("run", site.shop.processor) as run:
        site.publish(COUNT, seed=8)
        site.wait_for(2 * COUNT)
        site.execute("UPDATE kappa_version SET state = 'retired'")
        assert run.stderr is not None
        for line in run.stderr:
            if b"worker ended" in line:
                break
        assert run.poll() is None
        assert stop(run) == 0


def test_two_processes_share_and_one_takes_over_when_the_other_is_killed(
    site: Site, kappa: Kappa
) -> None:
    assert kappa("replay", site.shop.processor).code == 0
    with site.running("run") as first, site.running("run") as second:
        wait(lambda: len(site.owners()) == 2, "both to hold partitions")
        site.publish(COUNT, seed=8)
        site.wait_for(2 * COUNT)
        second.kill()
        site.publish(COUNT, seed=9)
        site.wait_for(3 * COUNT)
        assert len(site.owners()) == 1
        assert stop(first) == 0
    assert site.counted() == 3 * COUNT


def test_metrics_and_health_are_served(site: Site, kappa: Kappa) -> None:
    assert kappa("replay", site.shop.processor).code == 0
    with site.running("run", "--http", "127.0.0.1:0") as run:
        assert run.stderr is not None
        url = next(
            found[1].decode() for line in run.stderr if (found := re.search(rb"(http://\S+)", line))
        )
        wait(lambda: get(f"{url}/readyz")[0] == 200, "ready")
        assert get(f"{url}/healthz")[0] == 200
        site.publish(COUNT, seed=8)
        counted = f'kappa_records_total{{processor="{site.shop.processor}",version="1"}} {COUNT}.0'
        wait(lambda: counted in get(f"{url}/metrics")[1], "the count")
        wait(lambda: "kappa_table_bytes" in get(f"{url}/metrics")[1], "the size of the tables")
        wait(lambda: site.query("SELECT 1 FROM kappa_worker") == [(1,)], "the worker's row")
        (status,) = kappa("status", "--json").json
        assert (len(status["workers"]), status["lag"]) == (1, 0)
        assert stop(run) == 0
    assert site.query("SELECT 1 FROM kappa_worker") == []


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_second_signal_ends_at_once(site: Site, kappa: Kappa) -> None:
    """A worker that cannot finish its batch is not waited for, and none is left behind."""
    assert kappa("replay", site.shop.processor).code == 0
    with site.running("run") as run:
        wait(lambda: len(workers_at_work(site, run)) == 1, "the claim")
        (pid,) = workers_at_work(site, run)
        worker = psutil.Process(pid)
        worker.suspend()

        def ended() -> bool:
            run.send_signal(signal.SIGTERM)
            return run.poll() is not None

        wait(ended, "the end")
        assert run.returncode == 128 + signal.SIGTERM
        wait(lambda: is_over(worker), "the worker's end")
    assert site.counted() == COUNT


def workers_at_work(site: Site, run: subprocess.Popen[bytes]) -> set[int]:
    """The workers of this process that have claimed partitions, if nobody else has claimed any."""
    claimed = {int(str(owner).rpartition(":")[2]) for owner in site.owners() if owner}
    return (
        claimed if claimed <= {child.pid for child in psutil.Process(run.pid).children()} else set()
    )


def is_over(process: psutil.Process) -> bool:
    """Orphans that have ended are there until the first process of the host collects them."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_without_the_plugin_there_is_nothing_to_follow(site: Site, kappa: Kappa) -> None:
    assert kappa("replay", site.shop.processor).code == 0
    done = kappa("run", env={"PYTHONPATH": ""})
    assert done.code == 3
    assert f"no installed processor is called '{site.shop.processor}'" in done.err
    assert f"{site.shop.processor} version 1 is in no installed plugin" in done.err


def test_a_replay_is_shared_by_all_who_join_and_goes_on_when_one_is_killed(
    site: Site, kappa: Kappa
) -> None:
    join = ("replay", site.shop.processor, "--join", "--json", "--batch-size", "20")
    slowly = (*join, "--rate-limit", "20")  # neither is to be done before the other has joined
    with site.running(*slowly) as first, site.running(*slowly) as second:
        wait(lambda: len(site.owners() - {None}) == 2, "both to hold partitions")
        held = site.held()
        wait(lambda: len(site.advanced(held)) == 2, "both to commit records")
        second.kill()
        read, _ = first.communicate(timeout=2 * PATIENCE_S)
        assert first.returncode == 0
    assert 0 < json.loads(read)["records"] < COUNT
    assert site.counted() == site.position() == COUNT
    ((state,),) = site.query("SELECT state FROM kappa_version")
    assert state == "ready"
    refused = kappa("replay", site.shop.processor, "--join", "--workers", "2")
    assert refused.code == 2
