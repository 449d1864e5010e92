"""Places where a test can have the process killed, as by ``kill -9``, at exactly that step.

``KAPPA_FAILPOINT=NAME`` kills the first time the place of that name is reached, and
``NAME@7`` the seventh time. Without the variable a place costs one call that returns at once.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from typing import Final

VARIABLE: Final = "KAPPA_FAILPOINT"

BATCH: Final = (
    "fetched",
    "decoded",
    "folded",
    "offsets_written",
    "rows_begun",
    "rows_written",
    "committing",
    "committed",
)
"""In the order in which a batch passes them; ``rows_begun`` in every COPY, before its end."""

REBALANCE: Final = ("revoked", "claimed")
"""Two steps of a worker that gives partitions up or takes them."""

RELAY: Final = ("relay_chosen", "relay_published", "relay_sent")
"""A relay's batch is chosen, the broker has it in an open transaction, and it counts."""

CUTOVER: Final = (
    "version_created",
    "finish_merged",
    "finish_written",
    "version_finished",
    "drained",
    "promote_locked",
    "promote_written",
    "promote_moved",
    "promoted",
    "retire_dropped",
    "retired",
)
"""A version is made; at its end its rows are merged, all its tables have their keys and it is
ready, and that is committed; the one in service takes no more input; in the swap all is locked, all
but the views is written, they are moved, and it is committed; a version's tables are dropped, and
that is committed. Names that begin with finish_, promote_ or retire_ lie before their COMMIT, the
others after it."""

COMPARISON: Final = ("held",)
"""Two versions are held, so that they can be compared."""

NAMES: Final = frozenset({*BATCH, *REBALANCE, *RELAY, *CUTOVER, *COMPARISON})


def _armed(spec: str) -> Callable[[str], None]:
    wanted, _, nth = spec.partition("@")
    if wanted not in NAMES:
        raise ValueError(f"{VARIABLE}={spec!r} names no failpoint; there are {sorted(NAMES)}")
    count = itertools.count(1)
    at = int(nth or 1)

    def reach(name: str) -> None:
        if name == wanted and next(count) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return reach


def _off(name: str) -> None:
    """No failpoint is set."""


reach: Callable[[str], None] = _armed(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else _off
"""Called with a name of NAMES where a process may be killed."""
