"""Replays as a person runs them: whole, in pieces, killed, by one worker or two."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from kappa.config import Settings
from tests.conftest import Finished
from tests.orders import Shop, open_shop, orders, publish, rebuild

Kappa = Callable[..., Finished]
Plugin = Callable[[str, str], None]
Unique = Callable[[str], str]

COUNT = 2_000


@pytest.fixture
def shop(settings: Settings, plugin: Plugin, unique: Unique, tmp_path: Path) -> Shop:
    return open_shop(settings, plugin, unique, tmp_path, records=orders(COUNT, seed=7))


def contents(database: str, shop: Shop) -> tuple[list[tuple[object, ...]], ...]:
    """All rows of the version's table and of its late table, in an order of their own."""
    with psycopg.connect(database) as connection:
        return tuple(
            connection.execute(f'SELECT * FROM "{table}" t ORDER BY t::text').fetchall()
            for table in (f"{shop.processor}__v1", f"{shop.processor}__v1__late")
        )


def forget(database: str, shop: Shop) -> None:
    """Drops the version as if it had never been."""
    with psycopg.connect(database) as connection:
        for table in (f"{shop.processor}__v1", f"{shop.processor}__v1__late"):
            connection.execute(f'DROP TABLE IF EXISTS "{table}"')
        tables = ("finality", "offset", "dead_letter", "transition", "version")
        for table in (f"kappa_{name}" for name in tables):
            connection.execute(f"DELETE FROM {table}")


def test_a_replay_accounts_for_every_record(kappa: Kappa, shop: Shop, database: str) -> None:
    done = kappa("replay", shop.processor, "--json")
    assert done.code == 0, done.err
    result = done.json
    assert (result["state"], result["records"], result["dead"]) == ("ready", COUNT, 0)
    with psycopg.connect(database) as connection:
        counted = connection.execute(
            f"SELECT (SELECT sum(orders) FROM {shop.processor}__v1),"
            f" (SELECT count(*) FROM {shop.processor}__v1__late)"
        ).fetchone()
    assert counted is not None
    assert counted[0] + counted[1] == COUNT
    assert result["late"] == counted[1] > COUNT // 20


@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (7, 2), (1000, 1), (1000, 2)])
def test_batch_size_and_workers_change_no_bit(
    settings: Settings, shop: Shop, database: str, batch: int, workers: int
) -> None:
    rebuild(settings, shop)
    expected = contents(database, shop)
    forget(database, shop)
    rebuild(settings, shop, batch_size=batch, workers=workers)
    assert contents(database, shop) == expected
    assert expected[0]


def test_killed_at_twenty_moments_it_resumes_to_the_same_tables(
    kappa: Kappa,
    settings: Settings,
    shop: Shop,
    database: str,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    rebuild(settings, shop)
    expected = contents(database, shop)
    forget(database, shop)
    command = [sys.executable, "-m", "kappa", "replay", shop.processor, "--batch-size", "20"]
    midway = kills = 0
    with psycopg.connect(database, autocommit=True) as watch:
        while kills < 20:
            before = _position(watch, shop)
            process = subprocess.Popen(
                command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
            )
            _wait_for_progress(watch, shop, process, before + 20 * (1 + kills % 4))
            assert process.poll() is None, process.stderr and process.stderr.read()
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            midway += 0 < _position(watch, shop) < COUNT
    assert midway >= 15
    done = kappa("replay", shop.processor, "--json")
    assert done.code == 0, done.err
    assert 0 < done.json["records"] < COUNT
    assert contents(database, shop) == expected


def _position(watch: psycopg.Connection, shop: Shop) -> int:
    row = watch.execute(
        "SELECT coalesce(sum(next_offset), 0) FROM kappa_offset WHERE processor = %s",
        [shop.processor],
    ).fetchone()
    assert row is not None
    return int(row[0])


def _wait_for_progress(
    watch: psycopg.Connection, shop: Shop, process: subprocess.Popen[str], position: int
) -> None:
    deadline = time.monotonic() + 60
    while _position(watch, shop) < position and process.poll() is None:
        assert time.monotonic() < deadline, "the replay does not move"
        time.sleep(0.002)


def test_a_built_version_catches_up_with_new_records(
    settings: Settings, shop: Shop, database: str, tmp_path: Path
) -> None:
    rebuild(settings, shop)
    publish(settings, shop.topic, tmp_path, orders(2 * COUNT, seed=7)[COUNT:])
    assert rebuild(settings, shop, batch_size=500).records == COUNT
    caught_up = contents(database, shop)
    forget(database, shop)
    rebuild(settings, shop)
    assert contents(database, shop) == caught_up


def test_a_dry_run_says_what_it_would_read_and_writes_nothing(
    kappa: Kappa, shop: Shop, database: str
) -> None:
    done = kappa("replay", shop.processor, "--dry-run", "--json")
    assert done.code == 0, done.err
    assert (done.json["plan"]["state"], done.json["plan"]["records"]) == ("new", COUNT)
    assert done.json["bytes"] > 0
    assert len(done.json["schema_ids"]) == 1
    assert (done.json["seconds"], done.json["disk_bytes"]) == (None, None), "nothing was built yet"
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT count(*) FROM kappa_version").fetchone()
    assert rows == (0,)
