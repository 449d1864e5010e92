"""A tenure that comes to a dead letter too many is begun anew in smaller steps.

A fold cannot give back a part of what it has taken in. So what lies before that letter is read
again, in checkpoints of fewer records and in the end of one: it is committed with its letters,
which a person can then see and drop.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from kappa.errors import TooManyDeadLetters
from kappa.runtime.worker.tenure import Tenure
from kappa.runtime.worker.terms import Terms

_FINER = 100
"""How much smaller the steps get each time: so many are read again at most."""


def run_in_steps(
    begin: Callable[[Terms], AbstractContextManager[Tenure]],
    terms: Terms,
    stopping: Callable[[], bool],
) -> dict[int, int]:
    """Runs the tenure that ``begin`` begins, and returns how far each partition is committed.

    It is also over where it has got, in smaller steps, past a letter that was one too many:
    somebody has made room, and large steps will do again; and where it comes to one and is to stop.

    Raises:
        TooManyDeadLetters: all that lies before the letter is committed.
        Fenced: somebody else claimed a partition.
    """
    beyond: tuple[int, int] | None = None
    while True:
        try:
            with begin(terms) as tenure:
                tenure.run(_stopping(stopping, tenure, beyond))
                return dict(tenure.committed)
        except TooManyDeadLetters as error:
            if terms.rhythm.batch_size == 1:
                raise
            if stopping():  # and what is another's by now is not to be claimed back
                return dict(tenure.committed)
            partition, offset = error.detail["partition"], error.detail["offset"]
            assert isinstance(partition, int)
            assert isinstance(offset, int)
            beyond = partition, offset
            finer = max(terms.rhythm.batch_size // _FINER, 1)
            terms = replace(terms, rhythm=replace(terms.rhythm, batch_size=finer))


def _stopping(
    stopping: Callable[[], bool], tenure: Tenure, beyond: tuple[int, int] | None
) -> Callable[[], bool]:
    if beyond is None:
        return stopping
    partition, offset = beyond
    return lambda: stopping() or tenure.committed[partition] > offset
