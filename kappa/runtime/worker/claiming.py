"""Taking partitions over, past a former owner that no longer answers."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Engine
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from kappa.errors import Deadlock, LockTimeout
from kappa.tables import holds, progress, recovery
from kappa.tables.engine import set_lock_timeout
from kappa.tables.progress import Claimed, Partition
from kappa.versions.drain import require_input

_LOCK_TIMEOUT_MS = 1_000
"""A checkpoint takes less; a paused worker would hold its rows for ever."""


@retry(
    retry=retry_if_exception_type((LockTimeout, Deadlock)),
    stop=stop_after_attempt(10),
    wait=wait_random_exponential(multiplier=0.05, max=1),
    reraise=True,
)
def claim(
    engine: Engine,
    processor: str,
    version: int,
    partitions: Collection[Partition],
    owner: str,
) -> dict[Partition, Claimed]:
    """``progress.claim`` that does not wait for ever.

    Where a row is locked for longer than a checkpoint takes, the database session of whoever
    claimed it last is ended: what it had not committed is rolled back, and it will find itself
    fenced.

    Raises:
        UnknownVersion: a partition is not registered.
        Fenced: the version is draining, or retired.
        LockTimeout: somebody else holds the rows, again and again.
    """
    try:
        with engine.begin() as connection:
            set_lock_timeout(connection, _LOCK_TIMEOUT_MS)
            claimed = progress.claim(connection, processor, version, partitions, owner)
            # Looked at with the rows locked: a drain or a hold that begins later raises our epochs.
            require_input(connection, processor, version)
            return holds.respect(connection, processor, version, claimed)
    except LockTimeout:
        with engine.begin() as connection:
            recovery.terminate_owners(connection, processor, version, partitions)
        raise
