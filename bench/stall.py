"""``python -m bench stall``: how long readers wait while a promote meets one that holds the view.

A reader keeps the view's lock for three seconds, idle in its transaction; others read the view as
fast as they can; a promote goes on trying. Beside it, the same with a swap that waits for the lock
without a limit, as a plain ``CREATE OR REPLACE VIEW`` does.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import psycopg
from sqlalchemy import Engine

from bench import servers
from bench.built import ready
from kappa.tables import migrate
from kappa.tables.engine import connect
from kappa.tables.finalize import Plain
from kappa.tables.layout import (
    OFFSET_COLUMN,
    PARTITION_COLUMN,
    Column,
    Kind,
    Layout,
    ViewColumn,
)
from kappa.tables.merge import MergeRule
from kappa.tables.sqltypes import BIGINT
from kappa.versions.promote import LOCK_TIMEOUT_MS, Persistence, promote

HELD_S = 3.0
READERS = 4
MOST_SHARE = 0.1
"""Of the longest read where nothing limits the wait."""
NAME = "bench_stall"


@dataclass(frozen=True)
class Stalled:
    """What readers met while the view was to be moved.

    Attributes:
        during: reads that ended while the lock was held.
        longest_s: the longest of all reads.
        attempts: transactions that the promote began.
    """

    lock_timeout_ms: int
    during: int
    longest_s: float
    attempts: int


def measure() -> list[Stalled]:
    """With the limit that a promote has, and without one."""
    with servers.running() as (_, postgres):
        found = []
        for limit in (LOCK_TIMEOUT_MS, 60_000):
            with servers.fresh_database(postgres, NAME) as url:
                found.append(_stall(url, limit))
    return found


def missed(found: list[Stalled]) -> list[str]:
    """What is beyond what is wanted; ``found`` is with the limit and without."""
    limited, without = (one.longest_s * 1000 for one in found)
    if limited <= without * MOST_SHARE:
        return []
    return [
        f"longest read {limited:,.0f} ms, at most {MOST_SHARE:.0%} of the {without:,.0f} ms"
        " without a limit wanted"
    ]


def render(found: list[Stalled]) -> str:
    """The result for people."""
    lines = ["lock timeout   longest read   reads meanwhile   attempts"]
    lines += [
        f"{one.lock_timeout_ms:>9,} ms {one.longest_s * 1000:>11,.0f} ms"
        f" {one.during:>17,} {one.attempts:>10,}"
        for one in found
    ]
    text = "\n".join(lines)
    return f"{text}\n\nA transaction held the view for {HELD_S:.0f} s; {READERS} others read it."


def _stall(url: str, limit: int) -> Stalled:
    engine = connect(url)
    migrate.upgrade(engine)
    for version in (1, 2):
        _ready(engine, version)
    promote(engine, {NAME: 1}, who="bench")
    over, held = threading.Event(), threading.Event()
    took: list[tuple[float, float]] = []

    def read() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not over.is_set():
                began = time.monotonic()
                connection.execute(f"SELECT count(*) FROM {NAME}")
                took.append((began, time.monotonic()))

    def hold() -> None:
        with psycopg.connect(url) as connection:
            connection.execute(f"SELECT count(*) FROM {NAME}")
            held.set()
            time.sleep(HELD_S)

    holder = threading.Thread(target=hold)
    readers = [threading.Thread(target=read) for _ in range(READERS)]
    holder.start()
    held.wait()
    from_s = time.monotonic()
    for reader in readers:
        reader.start()
    done = promote(engine, {NAME: 2}, who="bench", persistence=Persistence(limit, deadline_s=60))
    holder.join()
    over.set()
    for reader in readers:
        reader.join()
    engine.dispose()
    return Stalled(
        lock_timeout_ms=limit,
        during=sum(1 for _, ended in took if ended < from_s + HELD_S),
        longest_s=max(ended - began for began, ended in took),
        attempts=done.attempts,
    )


def _ready(engine: Engine, version: int) -> None:
    """A version with an empty table, at offset one of one partition."""
    layout = Layout(
        processor=NAME,
        version=version,
        kind=Kind.APPEND,
        columns=(
            Column("id", BIGINT, MergeRule.FIXED),
            PARTITION_COLUMN,
            OFFSET_COLUMN,
        ),
        key=("_partition", "_offset"),
        view=(ViewColumn("id", Plain("id")),),
    )
    ready(engine, layout, offset=1, fill=lambda connection: None)
