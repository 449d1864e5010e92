"""``kappa versions``: what became of each version, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kappa.config import Settings
from kappa.operations.database import database, reading
from kappa.plugins import find, load
from kappa.versions import records, timeline
from kappa.versions.identity import fingerprint
from kappa.versions.timeline import Step


@dataclass(frozen=True)
class TimelineStep:
    """A step of a version from one state to the next.

    Attributes:
        from_state: None where the version was made.
        read: offsets it had read by then, of all partitions.
        detail: why, where there is something to say.
    """

    version: int
    at: datetime
    from_state: str | None
    to_state: str
    who: str
    read: int
    deployment_id: str | None
    detail: dict[str, Any]


@dataclass(frozen=True)
class ShownVersion:
    """A version with all that is recorded of it.

    Attributes:
        manifest: what its build read and made; None until it is built.
        overrides: guards that were overridden for it.
        accepted: other code that was accepted under its number.
    """

    processor: str
    version: int
    state: str
    fingerprint: str
    declared_in: str
    distribution: str | None
    distribution_version: str | None
    created_at: datetime
    ready_at: datetime | None
    retired_at: datetime | None
    overrides: tuple[str, ...]
    accepted: tuple[dict[str, Any], ...]
    manifest: dict[str, Any] | None
    timeline: tuple[TimelineStep, ...]


@dataclass(frozen=True)
class Accepted:
    """Code that now goes on under a version's number.

    Attributes:
        changed: False where the installed code is the recorded one.
    """

    processor: str
    version: int
    fingerprint: str
    before: str
    changed: bool


def list_steps(settings: Settings, name: str) -> tuple[TimelineStep, ...]:
    """Every step of every version of a processor, the oldest first.

    Raises:
        UnknownVersion: no version of it was ever begun.
    """
    with reading(settings) as connection:
        steps = timeline.read(connection, name)
        if not steps and not records.list_versions(connection, name):
            raise records.unrecorded(connection, name)
    return tuple(_step(step) for step in steps)


def show(settings: Settings, name: str, version: int) -> ShownVersion:
    """One version.

    Raises:
        UnknownVersion: it was never begun.
    """
    with reading(settings) as connection:
        record = records.require(connection, name, version)
        steps = timeline.read(connection, name, version)
    return ShownVersion(
        processor=name,
        version=version,
        state=record.state.value,
        fingerprint=record.fingerprint,
        declared_in=record.declaration["object"],
        distribution=record.distribution,
        distribution_version=record.distribution_version,
        created_at=record.created_at,
        ready_at=record.ready_at,
        retired_at=record.retired_at,
        overrides=record.overrides,
        accepted=record.accepted,
        manifest=record.manifest,
        timeline=tuple(_step(step) for step in steps),
    )


def accept(settings: Settings, name: str, version: int, reason: str) -> Accepted:
    """Lets the installed code go on under the version's number, for good and on record.

    For changes that change no result. What the version has stored must still fit: a replay or a
    worker checks that as ever.

    Raises:
        UnknownProcessor: the version is not installed.
        UnknownVersion: it was never begun.
        IllegalTransition: it is retired.
    """
    loaded = load(find(name, version))
    now = fingerprint(name, version, loaded.plugin.object_path)
    with database(settings) as engine, engine.begin() as connection:
        before = records.require(connection, name, version).fingerprint
        if before != now:
            records.accept(connection, name, version, now, reason=reason, who=timeline.who())
    return Accepted(name, version, now, before, before != now)


def _step(step: Step) -> TimelineStep:
    return TimelineStep(
        version=step.version,
        at=step.at,
        from_state=step.from_state.value if step.from_state else None,
        to_state=step.to_state.value,
        who=step.who,
        read=sum(at["to"] - at["from"] for at in step.offsets),
        deployment_id=str(step.deployment_id) if step.deployment_id else None,
        detail=step.detail,
    )
