"""Every kind of processor through Kafka and PostgreSQL: however a replay is cut, the same bits."""

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
from kappa.operations.promote import promote
from tests.orders import Shop, open_shop, orders, publish, rebuild

Plugin = Callable[[str, str], None]
Unique = Callable[[str], str]
Open = Callable[..., Shop]

COUNT = 1_500

HEAD = """
import polars as pl
from kappa import *

SOURCE = Source("{topic}", event_time="placed_at", out_of_orderness="20s")
"""

WINDOWED = (
    HEAD
    + """
processor = WindowedAggregate(
    name="{name}",
    version=1,
    source=SOURCE,
    key=["%s"],
    window=%s,
    allowed_lateness="10s",
    aggregates={{%s}},
)
"""
)

SQL_MERGED = """
    "orders": Count(),
    "large": Count(where=pl.col("amount") > 250),
    "revenue": Sum("amount"),
    "spread": Stddev("amount"),
    "first": First("amount"),
    "last": Last("order_id"),
    "best": ArgMax("product", by="amount"),
    "worst": ArgMin("order_id", by="amount"),
"""

WORKER_MERGED = """
    "orders": Count(),
    "products": CountDistinct("product"),
    "buyers": CountDistinct("order_id", exact=False),
    "quantiles": Quantiles("amount", at=(0.5, 0.9)),
    "top": TopK("amount", 3),
    "sample": Collect("order_id", 4),
    "mean": Mean("amount"),
"""

KEYED = (
    HEAD
    + """
class Streaks(KeyedProcessor):
    name, version = "{name}", 1
    source = SOURCE
    key = "customer"
    columns = ["product", "amount", "order_id"]
    output = {{"customer": pl.String(), "product": pl.String(), "streak": pl.Int64()}}
    outputs = {{"quiet": {{"customer": pl.String(), "since": pl.Int64(), "total": pl.Float64()}}}}

    product = ValueState(str)
    streak = ValueState(int)
    amounts = ListState(float)
    seen = MapState(str, int, ttl="5m")

    def on_event(self, event, ctx):
        if event.order_id % 97 == 5:
            self.streak.set(-1)
            raise ValueError("no such order")
        streak = (self.streak.get() or 0) + 1 if self.product.get() == event.product else 1
        self.product.set(event.product)
        self.streak.set(streak)
        self.seen.put(event.product, ctx.event_time)
        if event.amount is not None:
            self.amounts.append(event.amount)
        if streak > 1:
            ctx.emit(customer=ctx.key, product=event.product, streak=streak)
        ctx.set_event_timer(ctx.event_time + 90_000, "quiet")

    def on_timer(self, at, ctx):
        ctx.emit_to("quiet", customer=ctx.key, since=at, total=sum(self.amounts.get()))
        self.amounts.clear()
        self.streak.clear()
"""
)

KINDS = {
    "tumbling": WINDOWED % ("product", 'Tumbling("1m")', SQL_MERGED),
    "hopping": WINDOWED % ("product", 'Hopping("5m", "1m")', SQL_MERGED),
    "gaps": WINDOWED % ("product", 'Hopping("1m", "150s", offset="7s")', SQL_MERGED),
    "days": WINDOWED % ("product", 'Tumbling("1d", zone="America/Sao_Paulo")', SQL_MERGED),
    "ever": WINDOWED % ("product", "None", SQL_MERGED),
    "sessions": WINDOWED % ("customer", 'Session("40s")', SQL_MERGED),
    "short_sessions": WINDOWED % ("customer", 'Session("40s", "2m")', SQL_MERGED),
    "worker_merged": WINDOWED % ("customer", 'Tumbling("5m")', WORKER_MERGED),
    "worker_merged_hops": WINDOWED % ("customer", 'Sliding("6m", "2m")', WORKER_MERGED),
    "worker_merged_ever": WINDOWED % ("customer", "None", WORKER_MERGED),
    "sessions_merged": WINDOWED % ("customer", 'Session("40s")', WORKER_MERGED),
    "sessions_by_two": WINDOWED.replace('key=["%s"]', "key=[%s]")
    % (
        '"customer", pl.when(pl.col("amount") > 100).then("product").alias("kind")',
        'Session("90s")',
        SQL_MERGED,
    ),
    "keyed": KEYED,
}

kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def opened(settings: Settings, plugin: Plugin, unique: Unique, tmp_path: Path) -> Open:
    def open_kind(kind: str, count: int = COUNT) -> Shop:
        records = orders(count, seed=11)
        return open_shop(settings, plugin, unique, tmp_path, records=records, code=KINDS[kind])

    return open_kind


def tables(database: str, shop: Shop) -> list[str]:
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "SELECT tablename FROM pg_tables WHERE tablename LIKE %s ORDER BY tablename",
            [f"{shop.processor}\\_\\_v1%"],
        )
        return [row[0] for row in rows]


def contents(database: str, shop: Shop) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all the version's tables, and its dead letters."""
    with psycopg.connect(database) as connection:
        found = {
            table: connection.execute(f'SELECT * FROM "{table}" t ORDER BY t::text').fetchall()
            for table in tables(database, shop)
        }
        found["letters"] = connection.execute(
            'SELECT partition, "offset", index, key, error_class, message, timer'
            " FROM kappa_dead_letter ORDER BY partition, 2, index"
        ).fetchall()
        found["counted"] = connection.execute(
            "SELECT partition, records, late, dead, filtered, max_event_time FROM kappa_offset"
            " ORDER BY partition"
        ).fetchall()
    return found


def forget(database: str, shop: Shop) -> None:
    """Drops the version as if it had never been."""
    with psycopg.connect(database) as connection:
        for table in tables(database, shop):
            connection.execute(f'DROP TABLE "{table}"')
        for table in ("finality", "offset", "dead_letter", "transition", "version"):
            connection.execute(f"DELETE FROM kappa_{table}")


@kinds
def test_batch_size_workers_and_catching_up_change_no_bit(
    opened: Open, settings: Settings, database: str, tmp_path: Path, kind: str
) -> None:
    shop = opened(kind, COUNT // 2)
    rebuild(settings, shop)
    publish(settings, shop.topic, tmp_path, orders(COUNT, seed=11)[COUNT // 2 :])
    rebuild(settings, shop, batch_size=60)
    caught_up = contents(database, shop)
    assert caught_up[f"{shop.processor}__v1"]
    for batch_size, workers in ((17, 1), (1_000, 2)):
        forget(database, shop)
        rebuild(settings, shop, batch_size=batch_size, workers=workers)
        assert contents(database, shop) == caught_up
    promote(settings, {shop.processor: None})
    with psycopg.connect(database) as connection:
        shown = connection.execute(f"SELECT count(*) FROM {shop.processor}").fetchone()
    assert shown == (len(caught_up[f"{shop.processor}__v1"]),)


@pytest.mark.parametrize("kind", ["sessions", "worker_merged", "keyed"])
def test_killed_again_and_again_it_comes_to_the_same_tables(
    opened: Open,
    settings: Settings,
    database: str,
    environment: dict[str, str],
    tmp_path: Path,
    kind: str,
) -> None:
    shop = opened(kind)
    rebuild(settings, shop)
    expected = contents(database, shop)
    forget(database, shop)
    command = [sys.executable, "-m", "kappa", "replay", shop.processor, "--batch-size", "25"]
    midway = 0
    with psycopg.connect(database, autocommit=True) as watch:
        for kill in range(6):
            before = _position(watch)
            process = subprocess.Popen(
                command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
            )
            _wait_for_progress(watch, process, before + 25 * (1 + kill % 4))
            assert process.poll() is None, process.stderr and process.stderr.read()
            process.send_signal(signal.SIGKILL)
            process.wait()
            midway += 0 < _position(watch) < COUNT
    assert midway >= 4
    rebuild(settings, shop)
    assert contents(database, shop) == expected


def _position(watch: psycopg.Connection) -> int:
    row = watch.execute("SELECT coalesce(sum(next_offset), 0) FROM kappa_offset").fetchone()
    assert row is not None
    return int(row[0])


def _wait_for_progress(
    watch: psycopg.Connection, process: subprocess.Popen[str], position: int
) -> None:
    deadline = time.monotonic() + 60
    while _position(watch) < position and process.poll() is None:
        assert time.monotonic() < deadline, "the replay does not move"
        time.sleep(0.002)
