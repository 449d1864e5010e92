"""Dropping a version for good: its tables, and what waits to leave for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from kappa.errors import Deadlock, IllegalTransition, LockTimeout, StillNeeded
from kappa.failpoints import reach
from kappa.tables import build, cutover
from kappa.tables.bookkeeping import dead_letter, dirty_key, outbox, worker
from kappa.tables.engine import set_lock_timeout
from kappa.versions import records, timeline
from kappa.versions.lifecycle import UNBUILT, State
from kappa.versions.records import VersionRecord
from kappa.versions.standing import raise_epochs
from kappa.versions.swap import lock_processor

KEPT = timedelta(hours=24)
"""How long a version that has served is kept, so that a rollback can take it back."""

_LOCK_TIMEOUT_MS = 200
_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Retired:
    """What a retire or an abort did.

    Attributes:
        state: the version's state before.
        changed: False where it was retired already.
    """

    processor: str
    version: int
    state: State
    changed: bool
    tables: tuple[str, ...]


Check = Callable[[Connection, VersionRecord], None]


def retire(
    engine: Engine, processor: str, version: int, *, who: str, force: bool = False
) -> Retired:
    """Drops a version's tables in one transaction; its number is never used again.

    Its workers are fenced. What depends on the tables is never dropped. Run again, it drops
    whatever a former run could not.

    Raises:
        UnknownVersion: it is not recorded.
        IllegalTransition: it serves, is being built, or something else needs its tables.
        StillNeeded: it served less than KEPT ago and ``force`` is not given.
        LockTimeout: somebody held a table until the deadline.
    """

    return _persist(engine, processor, version, who, partial(check_retire, force=force))


def abort(engine: Engine, processor: str, version: int, *, who: str) -> Retired:
    """Gives up a build: what `retire` does, of a version that was never built to its end.

    Raises:
        UnknownVersion: it is not recorded.
        IllegalTransition: it is built, or something needs its tables.
        LockTimeout: somebody held a table until the deadline.
    """

    return _persist(engine, processor, version, who, check_abort)


def check_retire(conn: Connection, record: VersionRecord, *, force: bool) -> None:
    """Passes if the version may be retired as far as it knows of itself.

    Raises:
        IllegalTransition: it serves, or is being built.
        StillNeeded: it served less than KEPT ago and ``force`` is not given.
    """
    name, version = record.processor, record.version
    if record.state in UNBUILT:
        raise IllegalTransition(
            f"{name} version {version} is {record.state.value}",
            hint=f"kappa abort {name} --version {version}",
        )
    if record.state in (State.SERVING, State.DRAINING):
        raise IllegalTransition(
            f"{name} version {version} is what readers see: it cannot be retired",
            hint="promote another version first, or roll back",
        )
    if not force:
        _require_past(conn, record)


def check_abort(conn: Connection, record: VersionRecord) -> None:
    """Passes if the version was never built to its end.

    Raises:
        IllegalTransition: it was.
    """
    if record.state not in {*UNBUILT, State.RETIRED}:
        name, version = record.processor, record.version
        raise IllegalTransition(
            f"{name} version {version} is {record.state.value}, not being built",
            hint=f"kappa retire {name} --version {version} drops what was built",
        )


def _require_past(conn: Connection, record: VersionRecord) -> None:
    """Passes unless it served not long ago."""
    if record.state is not State.STANDBY:
        return
    steps = timeline.read(conn, record.processor, record.version)
    stopped = max(step.at for step in steps if step.to_state is State.STANDBY)
    now = conn.execute(sa.select(sa.func.now())).scalar_one()
    if now - stopped < KEPT:
        raise StillNeeded(
            f"{record.processor} version {record.version} served until {stopped:%Y-%m-%d %H:%M}",
            kept="for a day",
            hint="a rollback could take it back; --force if it never will",
        )


def _persist(
    engine: Engine,
    processor: str,
    version: int,
    who: str,
    check: Check,
) -> Retired:
    """Drops it as soon as the locks are free; ``check`` is asked before, and again under them."""
    with engine.connect() as conn:
        check(conn, records.require(conn, processor, version))
    attempts = Retrying(
        retry=retry_if_exception_type((LockTimeout, Deadlock)),
        wait=wait_random_exponential(multiplier=0.05, max=0.5),
        stop=stop_after_delay(_DEADLINE_S),
        reraise=True,
    )
    done: Retired = attempts(_drop, engine, processor, version, who, check)
    reach("retired")
    return done


def _drop(engine: Engine, processor: str, version: int, who: str, check: Check) -> Retired:
    with engine.begin() as conn:
        set_lock_timeout(conn, _LOCK_TIMEOUT_MS)
        lock_processor(conn, processor)
        raise_epochs(conn, processor, [version])
        before = records.hold(conn, processor, version)
        record = records.require(conn, processor, version)
        check(conn, record)
        if before is not State.RETIRED:
            records.transition(conn, processor, version, State.RETIRED, by=who)
        _forget(conn, processor, version)
        tables = build.drop(conn, processor, version, [side.name for side in record.layout.sides])
        reach("retire_dropped")
    return Retired(processor, version, before, before is not State.RETIRED, tables)


def _forget(conn: Connection, processor: str, version: int) -> None:
    """What waits for it is dropped: it would never leave. So are its workers' errors."""
    for table in (outbox, dirty_key, dead_letter, worker, cutover.hold):
        conn.execute(
            sa.delete(table).where(table.c.processor == processor, table.c.version == version)
        )
