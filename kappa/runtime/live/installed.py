"""Whether the installed plugins can go on with the versions that are recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection

from kappa import plugins
from kappa.errors import PluginError
from kappa.plugins import Plugin
from kappa.versions import records
from kappa.versions.identity import fingerprint
from kappa.versions.lifecycle import State
from kappa.versions.records import VersionRecord

FOLLOWED = frozenset(State) - {State.FAILED, State.RETIRED}
"""The states of versions that are built or kept up to date."""


class Lack(Enum):
    """What is wrong with a version's plugin."""

    MISSING = "missing"
    UNUSABLE = "unusable"
    CHANGED = "changed"


@dataclass(frozen=True)
class Lacking:
    """A version that the installed plugins cannot go on with.

    Attributes:
        distribution: the one it was built with, and that one's version, as far as known.
        message: what is wrong, in one sentence.
        hint: what to do about it.
    """

    processor: str
    version: int
    state: State
    lack: Lack
    distribution: str
    message: str
    hint: str


def lacking(connection: Connection) -> tuple[Lacking, ...]:
    """The versions being built or kept up to date that the installed plugins lack.

    Reads the plugins' sources and runs none of their code.
    """
    known = plugins.installed()
    followed = [r for r in records.list_versions(connection) if r.state in FOLLOWED]
    found = [lack_of(record, known) for record in followed]
    return tuple(lack for lack in found if lack is not None)


def lack_of(record: VersionRecord, known: Sequence[Plugin]) -> Lacking | None:
    """What ``known`` plugins lack to go on with one version; None if nothing."""
    name, number = record.processor, record.version
    built_with = " ".join(filter(None, (record.distribution, record.distribution_version)))
    kind, message, hint = Lack.MISSING, "", ""
    if not any((plugin.name, plugin.version) == (name, number) for plugin in known):
        message = f"{name} version {number} is in no installed plugin"
        hint = f"install {built_with or 'the plugin that holds it'}"
    else:
        try:
            plugin = plugins.find(name, number, known)
            if fingerprint(name, number, plugin.object_path) == record.fingerprint:
                return None
            kind = Lack.CHANGED
            message = f"the code of {name} changed under version {number}"
            hint = (
                f"declare the change as version {number + 1}; if it changes no result:"
                f" kappa versions accept {name} {number} --reason …; else install the code of"
                f" {built_with or 'then'} again"
            )
        except PluginError as error:
            kind, message, hint = Lack.UNUSABLE, str(error), error.hint
    return Lacking(name, number, record.state, kind, built_with, message, hint)
