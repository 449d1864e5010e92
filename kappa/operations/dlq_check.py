"""``kappa dlq check``: would a version process what another, or itself before, could not?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kappa import plugins
from kappa.config import Settings
from kappa.operations.database import reading
from kappa.operations.dlq import version_of
from kappa.runtime.assembly import assemble, registry_of
from kappa.runtime.worker.recheck import Recheck
from kappa.tables import letters
from kappa.tables.letters import Choice, Letter
from kappa.versions import records


@dataclass(frozen=True)
class FailingLetter:
    """A letter that would be one again: why it is one, and why it would be."""

    place: str
    was: str
    error_class: str
    message: str


@dataclass(frozen=True)
class CheckedLetters:
    """What a version makes of the open letters of another, or of its own.

    Attributes:
        letters_of: the version whose letters they are.
        version: the one they were run through.
        fixed: letters it would process.
        timers: letters of timers, which cannot be run again alone.
        as_copies: whether each was run as a copy sent now; else as its record is in the log.
        with_empty_state: whether its state at that place was not known, and taken as empty.
    """

    processor: str
    letters_of: int
    version: int
    fixed: int
    timers: int
    failing: tuple[FailingLetter, ...]
    as_copies: bool
    with_empty_state: bool


def check(
    settings: Settings,
    name: str,
    version: int | None,
    *,
    letters_of: int | None,
    error_class: str | None,
    on_progress: Callable[[int], None],
) -> CheckedLetters:
    """Runs the open letters of a version through ``version``, and writes nothing.

    Of another version they are what its replay meets: the records as they are in the log. Of the
    same version they are what a retry brings: copies with a timestamp of now.

    Args:
        version: an installed version, built or not; the highest by default.
        letters_of: whose letters; by default the one in service, else the highest built one.
        on_progress: hears how many letters were run.

    Raises:
        UnknownProcessor: the version is not installed.
        UnknownVersion: no version was ever built.
    """
    loaded = plugins.load(plugins.find(name, version))
    number = loaded.plugin.version
    registry = registry_of(settings)
    fixed = timers = 0
    failing: list[FailingLetter] = []
    with reading(settings) as connection:
        owner = version_of(connection, name, letters_of).version
        record = records.find(connection, name, number)
        assembly = assemble(loaded, registry, record.reader_schema_id if record else None)
        as_copies = owner == number
        recheck = Recheck(assembly, registry, round(time.time() * 1000) if as_copies else None)
        choice = Choice(error_class=error_class, is_open=True)

        def of_records() -> Iterator[Letter]:
            nonlocal timers
            for letter in letters.each(connection, name, owner, choice):
                if letter.timer is None:
                    yield letter
                else:
                    timers += 1

        for done, verdict in enumerate(recheck.verdicts(of_records()), 1):
            if verdict.error_class is None:
                fixed += 1
            else:
                was = verdict.letter.error_class
                why = verdict.error_class, verdict.message or ""
                failing.append(FailingLetter(verdict.letter.place, was, *why))
            on_progress(done)
    return CheckedLetters(
        processor=name,
        letters_of=owner,
        version=number,
        fixed=fixed,
        timers=timers,
        failing=tuple(failing),
        as_copies=as_copies,
        with_empty_state=recheck.with_empty_state,
    )
