"""Committing a checkpoint through the loss of the database.

A COMMIT that got no answer may have happened or not. The offset rows tell: they are locked,
because a plain read could miss a commit that is still running. Only when they stand where the
checkpoint began is it run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Engine

from kappa.errors import DatabaseUnavailable, LockTimeout
from kappa.runtime.worker.checkpoint import Checkpoint, Written, commit
from kappa.tables import recovery
from kappa.tables.engine import set_lock_timeout
from kappa.tables.layout import Layout

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_LOCK_TIMEOUT_MS = 5_000


def commit_lasting(
    engine: Engine,
    layout: Layout,
    checkpoint: Checkpoint,
    *,
    patience_s: float,
    on_lost: Callable[[DatabaseUnavailable], None] = lambda lost: None,
) -> Written:
    """``commit``, repeated until the database is back, for ``patience_s`` at most.

    A repetition counts no partition as silent. ``on_lost`` hears of every loss, so that the wait
    can be seen.

    Raises:
        Fenced: a partition is no longer ours; the checkpoint was not applied.
        DatabaseUnavailable: the database did not come back in time.
        DataRefused: PostgreSQL refused a value; nothing was written.
    """
    deadline = time.monotonic() + patience_s
    pause = _FIRST_PAUSE_S
    applied = False
    while not applied:
        try:
            return commit(engine, layout, checkpoint)
        except DatabaseUnavailable as error:
            lost: DatabaseUnavailable | LockTimeout | None = error
            checkpoint = _without_silence(checkpoint)
        while lost is not None:
            if isinstance(lost, DatabaseUnavailable):
                on_lost(lost)
            if time.monotonic() > deadline:
                raise lost
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)
            applied, lost = _settle(engine, layout, checkpoint)
    return Written()


def _without_silence(checkpoint: Checkpoint) -> Checkpoint:
    """The same checkpoint: the log may have more by now of what had nothing to read."""
    if checkpoint.ends is None:
        return checkpoint
    return replace(checkpoint, ends=replace(checkpoint.ends, silent=()))


def _settle(
    engine: Engine, layout: Layout, checkpoint: Checkpoint
) -> tuple[bool, DatabaseUnavailable | LockTimeout | None]:
    """Whether it was applied, as far as the database can be asked."""
    try:
        with engine.begin() as connection:
            set_lock_timeout(connection, _LOCK_TIMEOUT_MS)
            processor, version = layout.processor, layout.version
            done = recovery.settle(connection, processor, version, checkpoint.advances)
    except (DatabaseUnavailable, LockTimeout) as error:
        return False, error
    return done, None
