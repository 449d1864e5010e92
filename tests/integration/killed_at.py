"""A promote that is killed before its N-th statement."""

from __future__ import annotations

import itertools
import os
import signal
from typing import Any

import psycopg

from kappa.tables.engine import connect
from kappa.versions.promote import promote


def run(url: str, name: str, version: int, at: int) -> None:
    """Kills this process, or promotes where there are fewer statements; for a process of its own.

    Every statement counts that goes to the server, a COMMIT too.
    """
    count = itertools.count(1)

    def counted(method: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            if next(count) == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return method(*args, **options)

        return call

    psycopg.Cursor.execute = counted(psycopg.Cursor.execute)  # type: ignore[method-assign]
    psycopg.Connection.commit = counted(psycopg.Connection.commit)  # type: ignore[method-assign]
    promote(connect(url), {name: version}, who="killed")
