"""What is recorded of each version. All functions run in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kappa.errors import FingerprintChanged, IllegalTransition, UnknownVersion
from kappa.tables import bookkeeping
from kappa.tables.document import from_document, to_document
from kappa.tables.layout import Layout
from kappa.versions import timeline
from kappa.versions.lifecycle import State, check_transition

_processor, _version = bookkeeping.processor, bookkeeping.version


@dataclass(frozen=True, slots=True)
class ProcessorRecord:
    """A processor: which version its view selects from, None before the first promote."""

    name: str
    active_version: int | None
    epoch: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """A version as it was declared, and what has become of it.

    Attributes:
        declaration: where its declaration was found (``object``), and its ``layout``.
        overrides: guards that were overridden for it, recorded for good.
        accepted: other code that was accepted under its number: the fingerprint ``before`` and
            since, ``who``, ``at`` and the ``reason``.
        manifest: what its build read and made; None until it is built.
        drains_until: while it drains, when it takes input again if nothing else happens.
    """

    processor: str
    version: int
    state: State
    fingerprint: str
    declaration: dict[str, Any]
    reader_schema_id: int | None
    distribution: str | None
    distribution_version: str | None
    overrides: tuple[str, ...]
    accepted: tuple[dict[str, Any], ...]
    manifest: dict[str, Any] | None
    drains_until: datetime | None
    created_at: datetime
    ready_at: datetime | None
    retired_at: datetime | None

    @property
    def layout(self) -> Layout:
        """The version's tables and view, known even where its plugin is not installed."""
        return from_document(self.declaration["layout"])

    @property
    def declared_in(self) -> str:
        """Module and attribute of the declaration, ``module:attribute``."""
        return str(self.declaration["object"])


def find_processor(conn: Connection, name: str) -> ProcessorRecord | None:
    """The processor of this name, if a version of it was ever recorded."""
    row = conn.execute(sa.select(_processor).where(_processor.c.name == name)).mappings().first()
    return None if row is None else ProcessorRecord(**row)


def list_processors(conn: Connection) -> tuple[ProcessorRecord, ...]:
    """All processors by name."""
    rows = conn.execute(sa.select(_processor).order_by(_processor.c.name)).mappings()
    return tuple(ProcessorRecord(**row) for row in rows)


def find(conn: Connection, processor: str, version: int) -> VersionRecord | None:
    """One version, if it is recorded."""
    row = conn.execute(_select().where(is_version(processor, version))).mappings().first()
    return None if row is None else _record(row)


def require(conn: Connection, processor: str, version: int) -> VersionRecord:
    """One version.

    Raises:
        UnknownVersion: it was never built; says which are known.
    """
    found = find(conn, processor, version)
    if found is None:
        known = ", ".join(str(record.version) for record in list_versions(conn, processor))
        if not known:
            raise unrecorded(conn, processor)
        raise UnknownVersion(
            f"{processor} has no version {version}",
            known=known,
            hint=f"kappa versions list {processor}",
        )
    return found


def unrecorded(conn: Connection, processor: str) -> UnknownVersion:
    """The error for a processor of which no version was ever built, saying which were; or of which
    all are retired."""
    known = [one.name for one in list_processors(conn)]
    if processor in known:
        return UnknownVersion(
            f"every version of {processor!r} is retired",
            hint="declare another version, and replay that",
        )
    return UnknownVersion(
        f"no version of {processor!r} was ever built",
        known=", ".join(known) or None,
        hint=f"kappa replay {processor}, if that is its name: see 'kappa processors list'",
    )


def list_versions(conn: Connection, processor: str | None = None) -> tuple[VersionRecord, ...]:
    """All versions, of one processor or of all, by name and number."""
    query = _select().order_by(_version.c.processor, _version.c.version)
    if processor is not None:
        query = query.where(_version.c.processor == processor)
    return tuple(_record(row) for row in conn.execute(query).mappings())


def create(
    conn: Connection,
    processor: str,
    version: int,
    *,
    fingerprint: str,
    declared_in: str,
    layout: Layout,
    reader_schema_id: int | None = None,
    distribution: str | None = None,
    distribution_version: str | None = None,
    overrides: Sequence[str] = (),
    by: str | None = None,
) -> VersionRecord:
    """Records a version as building; one already recorded is returned as it is.

    Raises:
        FingerprintChanged: the number is recorded with other code.
        IllegalTransition: the number belonged to a version that is retired.
    """
    share(conn, processor)
    values = {
        "processor": processor,
        "version": version,
        "state": State.BUILDING.value,
        "fingerprint": fingerprint,
        "declaration": {"object": declared_in, "layout": to_document(layout)},
        "reader_schema_id": reader_schema_id,
        "distribution": distribution,
        "distribution_version": distribution_version,
        "overrides": list(overrides),
    }
    made = insert(_version).values(values).on_conflict_do_nothing().returning(_version.c.version)
    if conn.scalar(made) is not None:
        timeline.record(conn, processor, version, None, State.BUILDING, by=by or timeline.who())
    hold(conn, processor, version)  # another may have made it, and another retire it meanwhile
    record = require(conn, processor, version)
    check_identity(record, fingerprint)
    return record


def share(conn: Connection, processor: str) -> None:
    """Records the processor, if it is new, and keeps promotes and retires of it waiting.

    To be called before a version's row is locked: all lock the processor first.
    """
    conn.execute(insert(_processor).values(name=processor).on_conflict_do_nothing())
    shared = sa.select(_processor.c.name).where(_processor.c.name == processor)
    conn.execute(shared.with_for_update(read=True))


def check_identity(record: VersionRecord, fingerprint: str) -> None:
    """Passes if code with this fingerprint may go on with the recorded version.

    Raises:
        FingerprintChanged: the number is recorded with other code.
        IllegalTransition: the version is retired.
    """
    name, number = record.processor, record.version
    if record.state is State.RETIRED:
        raise IllegalTransition(
            f"{name} version {number} is retired",
            hint="numbers are never used again: declare a new version",
        )
    if record.fingerprint != fingerprint:
        raise FingerprintChanged(
            f"the code of {name} changed under version {number}",
            processor=name,
            version=number,
            hint=f"declare the change as version {number + 1} and replay that",
        )


def hold(conn: Connection, processor: str, version: int) -> State:
    """The state of a version, which stays as it is until the transaction ends.

    Raises:
        UnknownVersion: it is not recorded.
    """
    locked = sa.select(_version.c.state).where(is_version(processor, version)).with_for_update()
    state = conn.scalar(locked)
    if state is None:
        raise UnknownVersion(
            f"{processor} has no version {version}", hint=f"kappa replay {processor}"
        )
    return State(state)


def transition(
    conn: Connection,
    processor: str,
    version: int,
    to: State,
    *,
    by: str | None = None,
    deployment_id: UUID | None = None,
    detail: Mapping[str, object] | None = None,
) -> State:
    """Moves a version to another state, its row locked; returns the state it was in.

    The step is added to its timeline. ``by`` is who does it: this process's user if not given.

    Raises:
        UnknownVersion: it is not recorded.
        IllegalTransition: the step is not allowed.
    """
    now = hold(conn, processor, version)
    check_transition(processor, version, now, to)
    values: dict[str, Any] = {"state": to.value, "drains_until": None}
    if to is State.RETIRED:
        values["retired_at"] = sa.func.now()
    conn.execute(sa.update(_version).where(is_version(processor, version)).values(values))
    timeline.record(
        conn,
        processor,
        version,
        now,
        to,
        by=by or timeline.who(),
        deployment_id=deployment_id,
        detail=detail,
    )
    return now


def resume(conn: Connection, processor: str, version: int) -> State:
    """Goes on with a build that failed, unless somebody else has already; returns its state."""
    now = hold(conn, processor, version)
    if now is not State.FAILED:
        return now
    transition(conn, processor, version, State.BUILDING)
    return State.BUILDING


def add_overrides(conn: Connection, processor: str, version: int, lines: Sequence[str]) -> None:
    """Records guards that were overridden for a version that exists already, for good."""
    added = sa.type_coerce(list(lines), _version.c.overrides.type)
    overrides = _version.c.overrides.op("||")(added)
    conn.execute(
        sa.update(_version).where(is_version(processor, version)).values(overrides=overrides)
    )


def accept(
    conn: Connection, processor: str, version: int, fingerprint: str, *, reason: str, who: str
) -> None:
    """Lets code with another fingerprint go on under the version's number; recorded for good.

    Raises:
        UnknownVersion: it is not recorded.
        IllegalTransition: it is retired.
    """
    if hold(conn, processor, version) is State.RETIRED:
        raise IllegalTransition(
            f"{processor} version {version} is retired",
            hint="numbers are never used again: declare a new version",
        )
    before = require(conn, processor, version).fingerprint
    entry = {
        "before": before,
        "fingerprint": fingerprint,
        "reason": reason,
        "who": who,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    added = sa.type_coerce([entry], _version.c.accepted.type)
    conn.execute(
        sa.update(_version)
        .where(is_version(processor, version))
        .values(fingerprint=fingerprint, accepted=_version.c.accepted.op("||")(added))
    )


def is_version(processor: str, version: int) -> sa.ColumnElement[bool]:
    """Whether a row of kappa_version is this one."""
    return sa.and_(_version.c.processor == processor, _version.c.version == version)


def _select() -> sa.Select[Any]:
    columns = [_version.c[field.name] for field in fields(VersionRecord)]
    return sa.select(*columns)


def _record(row: sa.RowMapping) -> VersionRecord:
    values = dict(row)
    values["state"] = State(values["state"])
    values["overrides"] = tuple(values["overrides"])
    values["accepted"] = tuple(values["accepted"])
    return VersionRecord(**values)
