"""Versions that halt by their own fault, beside one that goes on in the same ``kappa run``."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from kappa.tables import letters
from kappa.tables.letters import Choice
from tests.faults import wait_until
from tests.live.invariants import check, check_now
from tests.live.running import Run
from tests.live.scenes import Scene
from tests.readings import LINES, START_MS, Reading, Unsent, good

LIMITED = """
from kappa import DeadLetterLimit, Projection, Source

processor = Projection(
    name="{name}",
    version=1,
    source=Source("{topic}", event_time="at"),
    columns=["sensor", "code"],
    max_dead_letters=DeadLetterLimit(count=2, rate=None),
)
"""
FORBIDDEN = 12_345.0
POISON = Unsent(0, b"k", b"\xffpoison")


def halts(run: Run, here: Scene, error: str) -> int:
    """How often a worker of the scene's version has ended with this error."""
    ends = [event for event in run.events(f'"error": "{error}"') if "again_in_s" in event]
    return sum(event["processor"] == here.name for event in ends)


def alter(here: Scene, how: str) -> None:
    """Changes the version's table by hand."""
    with here.site.engine.begin() as connection:
        connection.execute(sa.text(f"ALTER TABLE {here.name}__v1 {how}"))


@pytest.mark.timeout(600)
def test_versions_that_halt_hold_up_no_other(scene: Callable[..., Scene]) -> None:
    """One has a table that refuses a value which fits its column, as a hand could have made it.

    The other has a letter more than it allows, in one checkpoint with those it does allow.
    """
    refused, limited, other = scene(LINES), scene(LIMITED), scene(LINES)
    run = refused.run(limited.name, other.name)
    for here in (limited, other, refused):
        here.publish()
        here.catch_up()
    alter(refused, f"ADD CONSTRAINT none CHECK (value <> {FORBIDDEN}) NOT VALID")
    bad = Reading("s", 1, FORBIDDEN, START_MS)
    fine = Reading("s", 1, 1.0, START_MS)
    schema_id = refused.site.schema_id(refused.topic)
    stood = refused.site.positions(refused.name)
    (first, *_) = refused.send([good(schema_id, 0, reading) for reading in (bad, fine, fine)])
    poison = limited.send([POISON] * 3)
    wait_until("one is tried again", lambda: halts(run, refused, "DataRefused") > 1)
    wait_until("so is the other", lambda: halts(run, limited, "TooManyDeadLetters") > 1)
    assert refused.site.positions(refused.name) == stood
    assert stood[0] == first.offset
    check_now(refused)
    assert limited.site.positions(limited.name)[0] == poison[2].offset
    assert limited.site.letters(limited.name).keys() == {(0, one.offset) for one in poison[:2]}
    other.publish()
    check(other)
    assert run.running
    with limited.site.engine.begin() as connection:
        assert letters.drop(connection, limited.name, 1, Choice()) == 2
    alter(refused, "DROP CONSTRAINT none")
    for here in (limited, refused):
        here.catch_up(150)  # each pauses for up to 20 s before it is started again
    check(refused)
