"""``kappa dlq list``, ``show`` and ``drop``: what could not be processed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from kappa.config import Settings
from kappa.errors import ConfigError, UnknownLetter
from kappa.operations.database import database, reading
from kappa.tables import letters
from kappa.tables.letters import Choice, Place, Tally
from kappa.tables.letters import Letter as Letter
from kappa.versions import records
from kappa.versions.lifecycle import State
from kappa.versions.records import VersionRecord


@dataclass(frozen=True)
class ListedLetters:
    """The letters of a version: how many there are of each class, and the newest."""

    processor: str
    version: int
    classes: tuple[Tally, ...]
    newest: tuple[Letter, ...]


@dataclass(frozen=True)
class ShownLetters:
    """All letters at one place: of the record, and of timers it made fire."""

    processor: str
    version: int
    letters: tuple[Letter, ...]


@dataclass(frozen=True)
class DroppedLetters:
    """How many letters lost their bytes; their rows stay."""

    processor: str
    version: int
    dropped: int


def list_letters(
    settings: Settings, name: str, version: int | None, *, error_class: str | None, limit: int
) -> ListedLetters:
    """Counts the letters of a version by error class, and takes the newest ones."""
    with reading(settings) as connection:
        number = version_of(connection, name, version).version
        choice = Choice(error_class=error_class)
        return ListedLetters(
            name,
            number,
            tuple(
                tally
                for tally in letters.tally(connection, name, number)
                if error_class in (None, tally.error_class)
            ),
            letters.newest(connection, name, number, choice, limit),
        )


def show(settings: Settings, name: str, version: int | None, place: str) -> ShownLetters:
    """The letters at ``TOPIC/PARTITION/OFFSET``.

    Raises:
        UnknownLetter: there is none.
    """
    with reading(settings) as connection:
        number = version_of(connection, name, version).version
        found = find(connection, name, number, [place_of(place)])
        return ShownLetters(name, number, tuple(found))


def drop(
    settings: Settings,
    name: str,
    version: int | None,
    *,
    places: Sequence[str],
    error_class: str | None,
) -> DroppedLetters:
    """Erases the bytes of letters: of those places, of that class, or of all.

    Raises:
        UnknownLetter: there is none at a place that was named.
    """
    with database(settings) as engine, engine.begin() as connection:
        number = version_of(connection, name, version).version
        named = [place_of(place) for place in places] or None
        if named:
            find(connection, name, number, named)
        choice = Choice(places=named, error_class=error_class)
        return DroppedLetters(name, number, letters.drop(connection, name, number, choice))


def version_of(connection: Connection, name: str, version: int | None) -> VersionRecord:
    """The version asked for; else the one in service, else the highest that is not retired.

    Raises:
        UnknownVersion: there is none.
    """
    if version is None:
        found = records.find_processor(connection, name)
        version = found.active_version if found else None
    if version is None:
        known = records.list_versions(connection, name)
        version = max((v.version for v in known if v.state is not State.RETIRED), default=None)
    if version is None:
        raise records.unrecorded(connection, name)
    return records.require(connection, name, version)


def find(connection: Connection, name: str, version: int, places: Sequence[Place]) -> list[Letter]:
    """All letters at these places, in order.

    Raises:
        UnknownLetter: a place has none.
    """
    found = letters.at(connection, name, version, places)
    there = {(letter.topic, letter.partition, letter.offset) for letter in found}
    for topic, partition, offset in places:
        if (topic, partition, offset) not in there:
            raise UnknownLetter(
                f"{name} version {version} has no dead letter at {topic}/{partition}/{offset}",
                hint=f"'kappa dlq list {name} --version {version}' shows those it has",
            )
    return found


def place_of(text: str) -> Place:
    """``TOPIC/PARTITION/OFFSET`` as its parts.

    Raises:
        ConfigError: it is written in another way.
    """
    topic, *numbers = text.split("/")
    if topic and len(numbers) == 2 and all(_is_number(number) for number in numbers):
        return topic, int(numbers[0]), int(numbers[1])
    raise ConfigError(
        f"{text!r} is no place in a log", hint="write TOPIC/PARTITION/OFFSET, as in orders/0/1042"
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18
