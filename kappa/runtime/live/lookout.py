"""Which versions there are, looked up again and again beside the work.

A database that is paused holds back who asks it, for as long as it likes: the supervisor must not
be who.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kappa.runtime.beat import Beat
from kappa.tables.engine import connect
from kappa.versions import records
from kappa.versions.records import VersionRecord

_EVERY_S = 1.0
_END_S = 0.2
"""It only reads: a question that a paused database does not answer is not waited for."""


@dataclass
class Sight:
    """What was found last.

    Attributes:
        versions: all there are; None before they could be looked up for the first time.
        error: why they could not be looked up the last time; None if they could. It is tried again
            whatever kappa's error was: a statement that was cancelled says nothing of the next.
    """

    versions: tuple[VersionRecord, ...] | None = None
    error: Exception | None = None


@contextmanager
def lookout(postgres_url: str) -> Iterator[Sight]:
    """A sight that stays fresh while the block runs."""
    engine = connect(postgres_url)
    sight = Sight()

    def look() -> None:
        try:
            with engine.connect() as connection:
                sight.versions = records.list_versions(connection)
            sight.error = None
        except Exception as error:  # noqa: BLE001 - nobody would look any longer
            sight.error = error

    try:
        with Beat("kappa-lookout", _EVERY_S, look, _END_S):
            yield sight
    finally:
        engine.dispose()
