"""Commands about one processor at random, for `tests.live.chaos`: many processes issue them."""

from __future__ import annotations

import json
import random
from pathlib import Path

from kappa.config import Settings
from kappa.errors import DatabaseUnavailable, KappaError, TableError
from kappa.operations.promote import Persistence, promote, rollback
from kappa.operations.replay import replay
from kappa.operations.retire import abort, retire

VERSIONS = 80
NEAR = 4
"""Commands are about this many of the lowest versions that are not retired."""
HASTY = Persistence(deadline_s=2, idle_s=0.3, unread_s=0.3, drain_after=2, drain_s=0.5)


def act(settings: Settings, name: str, over: Path, seed: int, told: Path) -> None:
    """Issues random commands until there is a file ``over``; writes down how each ended. For a
    process of its own, which may be killed at any time.
    """
    dice = random.Random(seed)
    retired: set[int] = set()
    while not over.exists():
        near = [number for number in range(1, VERSIONS + 1) if number not in retired][:NEAR]
        version = dice.choice(near)
        what = dice.choices(["replay", "promote", "rollback", "retire", "abort"], [6, 6, 3, 2, 1])[
            0
        ]
        try:
            do(what, settings, name, version)
            _tell(told, what, None)
            if what in ("retire", "abort"):
                retired.add(version)
        except KappaError as error:
            if "is retired" in error.message:
                retired.add(version)
            unclear = isinstance(error, DatabaseUnavailable) or type(error) is TableError
            kind = type(error).__name__
            _tell(told, what, f"{kind}: {error} !" if unclear else kind)
        except BaseException as error:  # a bug; told, so that it is seen
            _tell(told, what, f"{error!r} !")
            raise


def _tell(told: Path, what: str, error: str | None) -> None:
    with told.open("a") as file:
        file.write(json.dumps([what, error]) + "\n")


def do(what: str, settings: Settings, name: str, version: int) -> None:
    """Issues one command.

    Raises:
        KappaError: what the command raises.
    """
    match what:
        case "replay":
            replay(
                settings,
                name,
                version,
                workers=1,
                batch_size=100,
                allow_truncated=False,
                on_plan=lambda plan: None,
                on_progress=lambda offsets: None,
            )
        case "promote":
            promote(settings, {name: version}, persistence=HASTY)
        case "rollback":
            rollback(settings, (name,), persistence=HASTY)
        case "retire":
            retire(settings, name, version, force=True)
        case "abort":
            abort(settings, name, version)
