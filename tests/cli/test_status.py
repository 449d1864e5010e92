"""``kappa status`` as a person sees it and as a machine reads it, once and again and again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from kappa.cli.status import _duration
from kappa.config import Settings
from kappa.operations.status import _moment
from kappa.tables import holds, workers
from kappa.tables.engine import connect
from kappa.tables.workers import WorkerRow
from tests.conftest import Finished
from tests.orders import START_MS, Shop, open_shop, orders, publish, rebuild

Kappa = Callable[..., Finished]


@pytest.fixture
def shop(
    settings: Settings,
    plugin: Callable[[str, str], None],
    unique: Callable[[str], str],
    tmp_path: Path,
) -> Shop:
    """A shop that is built, and 20 orders behind."""
    made = open_shop(settings, plugin, unique, tmp_path, records=orders(100, seed=3))
    rebuild(settings, made)
    publish(settings, made.topic, tmp_path, orders(20, seed=4))
    return made


def report(settings: Settings, *rows: WorkerRow) -> None:
    engine = connect(settings.postgres.url.get_secret_value())
    with engine.begin() as conn:
        for row in rows:
            workers.report(conn, row)
    engine.dispose()


def test_where_a_version_stands_and_who_follows_it(
    kappa: Kappa, settings: Settings, shop: Shop
) -> None:
    (alone,) = kappa("status", "--json").json
    assert (alone["lag"], alone["workers"], alone["bottleneck"]) == (20, [], None)
    age = time.time() - START_MS / 1000
    assert age - 1_000 < alone["lag_seconds"] < age + 1_000
    first = WorkerRow(
        uuid4(),
        shop.processor,
        1,
        "host:1",
        "running",
        datetime.now(UTC),
        bottleneck="database",
        records_per_second=1_200.5,
        resident_bytes=10**8,
        last_error={"class": "Deadlock", "message": "met another", "detail": {}, "hint": "again"},
    )
    second = replace(first, id=uuid4(), owner="host:2", last_error=None)
    third = replace(second, id=uuid4(), owner="host:3", bottleneck="source")
    report(settings, first, second, third)
    (seen,) = kappa("status", "--json").json
    assert [worker["owner"] for worker in seen["workers"]].count("host:1") == 1
    assert (len(seen["workers"]), seen["bottleneck"]) == (3, "database")
    assert seen["records_per_second"] == 3_601.5
    assert (seen["failure"]["error"], seen["failure"]["hint"]) == ("Deadlock", "again")
    shown = kappa("status")
    header, line = shown.out.splitlines()
    assert header.split()[-4:] == ["lag", "behind", "records/s", "bottleneck"]
    assert line.split()[2:4] == ["ready", "3"]
    assert line.split()[-2:] == ["3,602", "database"]
    assert "ago: Deadlock: met another" in shown.err


def test_a_version_that_is_held_says_so(kappa: Kappa, settings: Settings, shop: Shop) -> None:
    assert kappa("status", "--json").json[0]["held_until"] is None
    engine = connect(settings.postgres.url.get_secret_value())
    with engine.begin() as conn:
        holds.place(conn, shop.processor, {1: {(shop.topic, 0): 7}}, uuid4(), 60)
    (seen,) = kappa("status", "--json").json
    assert seen["held_until"] is not None
    assert "version 1: held for a comparison or a promote" in kappa("status").err
    with engine.begin() as conn:
        conn.exec_driver_sql(
            "UPDATE kappa_hold SET expires_at = now() - interval '1 second' WHERE processor = %s",
            (shop.processor,),
        )
    engine.dispose()
    assert kappa("status", "--json").json[0]["held_until"] is None


WAITING = """
import polars as pl
from kappa import KeyedProcessor, Source

class Waiting(KeyedProcessor):
    name, version = "{name}", 1
    source = Source("{topic}", event_time="placed_at")
    key = "customer"
    output = {{"said": pl.String()}}

    def on_event(self, event, ctx):
        ctx.set_event_timer(ctx.event_time + 60_000)
        ctx.set_processing_timer(ctx.processing_time)

    def on_timer(self, at, ctx):
        pass

processor = Waiting
"""


def test_timers_of_silent_partitions_wait_and_that_is_said(
    kappa: Kappa,
    settings: Settings,
    plugin: Callable[[str, str], None],
    unique: Callable[[str], str],
    tmp_path: Path,
) -> None:
    ordered = orders(12, seed=5)
    shop = open_shop(settings, plugin, unique, tmp_path, records=ordered, code=WAITING)
    rebuild(settings, shop)
    (seen,) = kappa("status", "--json").json
    assert datetime.fromisoformat(seen["timer_due"]) < datetime.now(UTC)
    set_for = datetime.fromisoformat(seen["event_timer_due"])
    assert set_for.timestamp() * 1000 - 60_000 in {order["placed_at"] for order in ordered}
    said = kappa("status").err
    assert "version 1: a timer is due since" in said
    assert f"ttl is set for {set_for:%Y-%m-%d %H:%M:%S} UTC: it waits for records" in said
    publish(settings, shop.topic, tmp_path, orders(1, seed=6))
    said = kappa("status").err
    assert "a timer is due since" in said
    assert "ttl is set for" not in said, "there is something left to read"


@pytest.mark.parametrize("ms", [10**15, -(10**15), None])
def test_a_timer_beyond_the_calendar_is_never_due(ms: int | None) -> None:
    assert _moment(ms) is None


def test_a_version_without_a_lag_is_not_behind(
    kappa: Kappa, settings: Settings, shop: Shop
) -> None:
    rebuild(settings, shop)
    (seen,) = kappa("status", "--json").json
    assert (seen["lag"], seen["lag_seconds"]) == (0, 0)


def test_watching_ends_after_so_many_looks(kappa: Kappa, shop: Shop) -> None:
    done = kappa("status", "--watch", "--interval", "0.1", "--count", "3")
    assert done.code == 0, done.err
    assert done.out.count(shop.processor) == 3
    lines = kappa("status", "--watch", "--interval", "0.1", "--count", "2", "--json").out
    assert [json.loads(line)[0]["lag"] for line in lines.splitlines()] == [20, 20]


def test_watching_outlasts_a_server_that_is_away(kappa: Kappa, environment: dict[str, str]) -> None:
    away = {"KAPPA_POSTGRES__URL": "postgresql://nobody@127.0.0.1:1/x"}
    done = kappa("status", "--watch", "--interval", "0.1", "--count", "2", env=away)
    assert done.code == 0
    assert done.out.count("error: PostgreSQL is not available") == 2


def test_watching_ends_with_ctrl_c(environment: dict[str, str], shop: Shop, tmp_path: Path) -> None:
    watching = subprocess.Popen(
        [sys.executable, "-m", "kappa", "status", "--watch", "--interval", "0.1"],
        cwd=tmp_path,
        env=environment | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    while shop.processor not in watching.stdout.readline():
        assert watching.poll() is None
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=60)
    assert watching.returncode == 130
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, None),
        (0.0, "0s"),
        (0.04, "0.0s"),
        (59.94, "59.9s"),
        (60, "1m"),
        (200.9, "3m 20s"),
        (7_199, "1h 59m"),
        (90_000, "1d 1h"),
        (31_557_600 * 12 + 86_400 * 40, "12y 40d"),
    ],
)
def test_durations(seconds: float | None, shown: str | None) -> None:
    assert _duration(seconds) == shown
