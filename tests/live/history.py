"""What anybody could see of a version while faults befell it, and whether that was ever wrong.

Offsets and rows are read in one snapshot, again and again: an offset or an epoch that falls, an
epoch with two owners, or rows that do not account for the offsets beside them is a break.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

import psycopg


@dataclass(frozen=True)
class Snapshot:
    """By partition: next offset, epoch, owner, records, late, dead, filtered. ``rows``: applied."""

    at: float
    partitions: dict[int, tuple[int, int, str | None, int, int, int, int]]
    rows: int


@dataclass
class History:
    """Samples a version until left. A context manager.

    Args:
        url: of the database.
        applied: a query of one number: how many records the table's rows stand for. None where
            that cannot be told from its rows.
    """

    url: str
    name: str
    applied: str | None = None
    every_s: float = 0.1
    breaks: list[str] = field(default_factory=list)
    takeovers: int = 0
    """How often a partition got another owner."""
    samples: int = 0
    _last: Snapshot | None = None
    _owners: dict[tuple[int, int], str] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def positions(self) -> dict[int, int]:
        """By partition, as of the last sample."""
        last = self._last
        return {} if last is None else {n: row[0] for n, row in last.partitions.items()}

    def _run(self) -> None:
        """The database may be what the fault befalls: then sampling goes on when it is back."""
        while not self._stop.is_set():
            with (
                suppress(psycopg.OperationalError),
                psycopg.connect(self.url, autocommit=True, connect_timeout=2) as connection,
            ):
                while not self._stop.wait(self.every_s):
                    self.look(connection)
            self._stop.wait(self.every_s)

    def look(self, connection: psycopg.Connection) -> Snapshot:
        """Takes a snapshot and holds it against the one before."""
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            found = connection.execute(
                "SELECT partition, next_offset, epoch, owner, records, late, dead, filtered,"
                " start_offset FROM kappa_offset WHERE processor = %s AND version = 1",
                [self.name],
            ).fetchall()
            rows = 0
            if self.applied is not None and found:
                ((rows,),) = connection.execute(self.applied.encode()).fetchall()
        snapshot = Snapshot(time.monotonic(), {row[0]: row[1:8] for row in found}, int(rows or 0))
        self._judge(snapshot)
        self._last, self.samples = snapshot, self.samples + 1
        return snapshot

    def _judge(self, now: Snapshot) -> None:
        before = {} if self._last is None else self._last.partitions
        for number, (offset, epoch, owner, *_) in now.partitions.items():
            then = before.get(number)
            if then is not None:
                self._require(offset >= then[0], f"offset of {number}: {then[0]} to {offset}")
                self._require(epoch >= then[1], f"epoch of {number}: {then[1]} to {epoch}")
                self.takeovers += owner != then[2]
            if owner is not None:
                owned = self._owners.setdefault((number, epoch), owner)
                self._require(owned == owner, f"epoch {epoch} of {number}: {owned} and {owner}")
        records, late, dead, filtered = (
            sum(row[at] for row in now.partitions.values()) for at in (3, 4, 5, 6)
        )
        if self.applied is not None:
            self._require(
                now.rows + late + dead + filtered == records,
                f"{now.rows} applied + {late} late + {dead} dead + {filtered} filtered"
                f" are not {records} records",
            )

    def _require(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.breaks.append(otherwise)


def until(condition: Callable[[], bool], seconds: float) -> float | None:
    """How long it took until it came true; None if it did not in so many seconds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            return None
        time.sleep(0.05)
    return time.monotonic() - began
