"""Two versions brought to the same offsets, and a snapshot taken there.

    v1  ──●──●──●──┤ held at H ├──●──●──
    v2  ─●───●─────●───●───────┤──●──●──
                           snapshot, and both go on

H is, in every partition, the greater of the two positions. Whoever reads for a version stops
there until the snapshot is taken, or until the hold expires by the database's clock.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from kappa.errors import (
    DatabaseUnavailable,
    Deadlock,
    LockTimeout,
    NotCaughtUp,
    SourceDropped,
    TopicRecreated,
    VersionHeld,
)
from kappa.failpoints import reach
from kappa.tables import holds
from kappa.tables.engine import set_lock_timeout
from kappa.tables.progress import Partition
from kappa.versions.caught_up import Position
from kappa.versions.standing import raise_epochs, read_positions
from kappa.versions.swap import lock_processor

IDLE_S = 15.0
"""A version that has not moved for so long is read by nobody: the other one is not kept waiting."""
LEASE_S = 30.0
"""After so long nobody is held by a command that died."""
_RENEW_S = 5.0
_LOOK_S = 0.1
_LOCK_TIMEOUT_MS = 2_000
"""Workers hold the rows of a checkpoint for less; readers are not concerned."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Two versions of a processor that stop at the same offsets, for as long as it is renewed."""

    id: UUID
    processor: str
    versions: tuple[int, int]
    offsets: tuple[Position, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A moment at which both versions stood at ``offsets``, for as long as it is open.

    ``name`` is what other sessions import it by.
    """

    conn: Connection
    name: str
    offsets: tuple[Position, ...]


@contextmanager
def at_same_offsets(
    engine: Engine, processor: str, versions: tuple[int, int], *, timeout_s: float
) -> Iterator[Snapshot]:
    """Holds both versions, waits until they have come there, and lets them go on.

    What is done in the block sees both as they were at that moment.

    Raises:
        NotCaughtUp: one of them was not there in time, or stood still; the hold is released.
        VersionHeld: somebody else holds versions of this processor.
        SourceDropped, TopicRecreated: they do not read the same topics.
        LockTimeout: somebody holds their rows.
    """
    hold = place(engine, processor, versions)
    try:
        reach("held")
        deadline = time.monotonic() + timeout_s
        renewed = moved = time.monotonic()
        last: tuple[tuple[Position, ...], ...] = ()
        while True:
            with engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
                reached = tuple(read_positions(conn, processor, one) for one in versions)
                behind = _behind(hold, reached)
                if behind is None:
                    name = _exported(conn)
                    release(engine, hold)
                    yield Snapshot(conn, name, hold.offsets)
                    return
            if reached != last:
                last, moved = reached, time.monotonic()
            if time.monotonic() > min(deadline, moved + IDLE_S):
                raise behind
            time.sleep(_LOOK_S)
            if time.monotonic() - renewed > _RENEW_S:
                _renew(engine, hold)
                renewed = time.monotonic()
    finally:
        # Where the database is away, the hold expires by itself.
        with suppress(DatabaseUnavailable):
            release(engine, hold)


@retry(
    retry=retry_if_exception_type((LockTimeout, Deadlock)),
    stop=stop_after_attempt(5),
    wait=wait_random_exponential(multiplier=0.05, max=1),
    reraise=True,
)
def place(
    engine: Engine, processor: str, versions: tuple[int, int], *, seconds: float = LEASE_S
) -> Hold:
    """Holds two versions at the greater of their positions, which are locked meanwhile.

    Their epochs are raised: a checkpoint under way is fenced, and whoever claims sees the hold.

    Raises:
        VersionHeld: somebody else holds versions of this processor.
        UnknownVersion: the processor is not recorded.
        SourceDropped, TopicRecreated: the versions do not read the same topics.
        LockTimeout: somebody holds their rows.
    """
    held_by = uuid4()
    with engine.begin() as conn:
        set_lock_timeout(conn, _LOCK_TIMEOUT_MS)
        lock_processor(conn, processor)
        expires_at = holds.expiry(conn, processor)
        if expires_at is not None:
            raise VersionHeld(
                f"versions of {processor} are being compared by somebody else",
                until=expires_at.isoformat(timespec="seconds"),
                hint="try again: that takes seconds, and what was cut short expires",
            )
        found = {
            version: read_positions(conn, processor, version, lock=True)
            for version in sorted(versions)
        }
        first, second = (found[version] for version in versions)
        offsets = same_offsets(processor, versions, first, second)
        at = {(one.topic, one.partition): one.next_offset for one in offsets}
        holds.place(conn, processor, dict.fromkeys(versions, at), held_by, seconds)
        raise_epochs(conn, processor, sorted(versions))
    return Hold(held_by, processor, versions, offsets)


def release(engine: Engine, hold: Hold) -> None:
    """Lets both versions go on; does nothing where they already do."""
    with engine.begin() as conn:
        holds.release(conn, hold.id)


def same_offsets(
    processor: str,
    versions: tuple[int, int],
    first: tuple[Position, ...],
    second: tuple[Position, ...],
) -> tuple[Position, ...]:
    """The greater position of each partition that either version reads.

    Raises:
        SourceDropped: a topic is read by one of them only.
        TopicRecreated: they read two topics of one name.
    """
    topics = [{at.topic: at.topic_id for at in positions} for positions in (first, second)]
    for topic in sorted(topics[0].keys() ^ topics[1].keys()):
        reads = versions[0] if topic in topics[0] else versions[1]
        raise SourceDropped(
            f"of these versions of {processor} only {reads} reads topic {topic!r}",
            hint="what is made of different topics has no common offsets to be compared at",
        )
    for topic, topic_id in sorted(topics[0].items()):
        if topics[1][topic] != topic_id:
            raise TopicRecreated(
                f"the versions of {processor} read two topics called {topic!r}",
                hint="it was deleted and created again: its offsets cannot be compared",
            )
    greatest: dict[Partition, Position] = {}
    for at in (*first, *second):
        known = greatest.setdefault((at.topic, at.partition), at)
        if at.next_offset > known.next_offset:
            greatest[at.topic, at.partition] = at
    return tuple(sorted(greatest.values()))


def _behind(hold: Hold, found: tuple[tuple[Position, ...], ...]) -> NotCaughtUp | None:
    """What to say of the first version that is not where it is held; None if both are."""
    for version, positions in zip(hold.versions, found, strict=True):
        reached = {(at.topic, at.partition): at.next_offset for at in positions}
        for at in hold.offsets:
            offset = reached.pop((at.topic, at.partition), None)
            if offset != at.next_offset:
                name = hold.processor
                return NotCaughtUp(
                    f"{name} version {version} did not come to where the other one is in time",
                    topic=at.topic,
                    partition=at.partition,
                    offset=offset,
                    other=at.next_offset,
                    hint=f"let it catch up meanwhile: kappa run {name}, or"
                    f" kappa replay {name} --version {version}",
                )
    return None


def _exported(conn: Connection) -> str:
    # The session may be idle while others, in the same snapshot, work.
    conn.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    return str(conn.scalar(sa.text("SELECT pg_export_snapshot()")))


def _renew(engine: Engine, hold: Hold) -> None:
    """Raises VersionHeld where it has expired, because this process was stopped for so long."""
    with engine.begin() as conn:
        if not holds.renew(conn, hold.id, LEASE_S):
            raise VersionHeld(
                f"the hold of {hold.processor} has expired before its versions met",
                hint="try again",
            )
