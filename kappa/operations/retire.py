"""``kappa retire`` and ``kappa abort``: dropping a version for good."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from kappa.config import Settings
from kappa.errors import UnknownVersion
from kappa.operations.database import database
from kappa.versions import records, timeline
from kappa.versions import retire as versions
from kappa.versions.lifecycle import UNBUILT


@dataclass(frozen=True)
class RetiredVersion:
    """A version whose tables are gone.

    Attributes:
        state: what it was before.
        changed: False where it was retired already.
        tables: those that were dropped.
    """

    processor: str
    version: int
    state: str
    changed: bool
    tables: tuple[str, ...]


def retire(settings: Settings, name: str, version: int, *, force: bool) -> RetiredVersion:
    """Drops a built version that does not serve.

    Raises:
        KappaError: see kappa.versions.retire.retire.
    """
    return _drop(settings, name, version, force=force)


def abort(settings: Settings, name: str, version: int | None) -> RetiredVersion:
    """Gives up a build: of ``version``, or of the only one that is being built.

    Raises:
        UnknownVersion: none is being built, or several are.
        KappaError: see kappa.versions.retire.abort.
    """
    return _drop(settings, name, version, force=None)


def check(settings: Settings, name: str, version: int | None, *, force: bool | None) -> int:
    """Which version a retire, or with ``force`` None an abort, would drop. Changes nothing.

    Raises:
        KappaError: it would be refused.
    """
    with database(settings) as engine, engine.connect() as connection:
        number = version or _unbuilt(engine, name)
        record = records.require(connection, name, number)
        if force is None:
            versions.check_abort(connection, record)
        else:
            versions.check_retire(connection, record, force=force)
    return number


def _drop(settings: Settings, name: str, version: int | None, force: bool | None) -> RetiredVersion:
    who = timeline.who()
    with database(settings) as engine:
        if force is None:
            number = version or _unbuilt(engine, name)
            done = versions.abort(engine, name, number, who=who)
        else:
            assert version is not None
            done = versions.retire(engine, name, version, who=who, force=force)
    return RetiredVersion(done.processor, done.version, done.state.value, done.changed, done.tables)


def _unbuilt(engine: Engine, name: str) -> int:
    """The only version that is being built."""
    with engine.connect() as connection:
        known = records.list_versions(connection, name)
    found = [v.version for v in known if v.state in UNBUILT]
    if len(found) == 1:
        return found[0]
    raise UnknownVersion(
        f"{len(found) or 'no'} versions of {name!r} are being built",
        versions=", ".join(map(str, found)) or None,
        hint="name one with --version" if found else f"kappa versions list {name}",
    )
