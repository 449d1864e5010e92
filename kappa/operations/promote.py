"""``kappa promote`` and ``kappa rollback``: which versions readers see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import Engine

from kappa.config import Settings
from kappa.errors import RecreateNeeded, SourceDropped, TopicRecreated
from kappa.operations.database import database
from kappa.versions import records, timeline
from kappa.versions.deployment import Action, Moved, Options
from kappa.versions.lifecycle import State
from kappa.versions.preflight import Examined
from kappa.versions.promote import Persistence, Promoted, examine
from kappa.versions.promote import promote as swap
from kappa.versions.rollback import back

__all__ = ["Options", "Persistence", "plan", "promote", "rollback"]

_NOTHING_SPECIAL = Options()
_PATIENT = Persistence()
_NEVER = frozenset({State.RETIRED})


@dataclass(frozen=True)
class Change:
    """What became of one processor's view.

    Attributes:
        from_version: the version that served before; None for a first promote.
        changed: False when the version was serving already.
    """

    processor: str
    from_version: int | None
    to_version: int
    changed: bool


@dataclass(frozen=True)
class Changed:
    """What a promote or rollback did.

    Attributes:
        deployment_id: names it in the history; None when nothing changed.
        attempts: transactions begun; more than one where readers held a view, or a version
            was behind.
        drained: whether the old version had to stop taking input for a while.
    """

    moves: tuple[Change, ...]
    deployment_id: str | None
    attempts: int
    drained: bool


@dataclass(frozen=True)
class PlannedPartition:
    """Where a partition's offsets stand; ``behind`` is what the new version lacks.

    Partitions of a topic that was created again have a ``topic_id`` of their own.
    """

    topic: str
    topic_id: str
    partition: int
    from_offset: int | None
    to_offset: int | None
    served: int | None
    behind: int


@dataclass(frozen=True)
class PlannedMove:
    """What a promote would do to one processor's views.

    Attributes:
        refusal: why it would be refused, and ``hint`` what to do; None where nothing speaks
            against it.
        waits: what a promote would wait for, and be refused only if it does not pass in time: to
            be behind, and readers with old snapshots.
        statements: what would be run for the views.
        dependents: views that select from them, which stay and see the new version.
    """

    processor: str
    from_version: int | None
    to_version: int
    state: str
    changes: bool
    refusal: str | None
    hint: str | None
    waits: tuple[str, ...]
    partitions: tuple[PlannedPartition, ...]
    statements: tuple[str, ...]
    dependents: tuple[str, ...]


def promote(
    settings: Settings,
    versions: Mapping[str, int | None],
    *,
    options: Options = _NOTHING_SPECIAL,
    persistence: Persistence = _PATIENT,
    on_wait: Callable[[str], None] = lambda said: None,
) -> Changed:
    """Moves the views of all these processors, each to the version given or to its highest.

    ``on_wait`` hears what is waited for.

    Raises:
        KappaError: see kappa.versions.promote.promote.
    """
    with database(settings) as engine:
        chosen = _chosen(engine, versions)
        done = swap(
            engine,
            chosen,
            who=timeline.who(),
            options=options,
            persistence=persistence,
            listener=on_wait,
        )
    return _changed(done)


def plan(
    settings: Settings,
    versions: Mapping[str, int | None],
    *,
    options: Options = _NOTHING_SPECIAL,
) -> tuple[PlannedMove, ...]:
    """What `promote` would do, and what speaks against it. Changes nothing.

    Raises:
        UnknownVersion: a version was never built.
    """
    with database(settings) as engine:
        found = examine(engine, _chosen(engine, versions), options)
    return tuple(_planned(one) for one in found)


def rollback(
    settings: Settings,
    names: tuple[str, ...],
    *,
    options: Options = _NOTHING_SPECIAL,
    persistence: Persistence = _PATIENT,
    on_wait: Callable[[str], None] = lambda said: None,
) -> Changed:
    """Moves the views back to the versions that served before, by the same rules as a promote.

    Raises:
        UnknownVersion: nothing of this name serves.
        IllegalTransition: nothing served before, or it is retired.
        KappaError: see kappa.versions.promote.promote.
    """
    with database(settings) as engine:
        with engine.connect() as connection:
            moves = [back(connection, name) for name in names]
        try:
            done = swap(
                engine,
                {move.processor: move.to_version for move in moves},
                who=timeline.who(),
                action=Action.ROLLBACK,
                serving={move.processor: move.from_version for move in moves},
                options=options,
                persistence=persistence,
                listener=on_wait,
            )
        except RecreateNeeded as error:
            error.hint = (
                "the version before does not have what readers know by now; if that is meant:"
                f" kappa rollback {' '.join(names)} --recreate"
            )
            raise
        except (SourceDropped, TopicRecreated) as error:
            error.hint = (
                "what the present version has of that topic would go; if that is meant:"
                f" kappa rollback {' '.join(names)} --drop-source {error.detail['topic']}"
            )
            raise
    return _changed(done)


def _chosen(engine: Engine, versions: Mapping[str, int | None]) -> dict[str, int]:
    """The version of each processor: the one given, else the highest that is not retired."""
    chosen = {}
    with engine.connect() as connection:
        for name, version in versions.items():
            known = records.list_versions(connection, name)
            highest = max((v.version for v in known if v.state not in _NEVER), default=None)
            if version is None and highest is None:
                raise records.unrecorded(connection, name)
            chosen[name] = version or highest or 0
    return chosen


def _changed(done: Promoted) -> Changed:
    return Changed(
        moves=tuple(_change(move) for move in done.moves),
        deployment_id=str(done.deployment_id) if done.deployment_id else None,
        attempts=done.attempts,
        drained=done.drained,
    )


def _change(move: Moved) -> Change:
    return Change(move.processor, move.from_version, move.to_version, move.changed)


def _planned(one: Examined) -> PlannedMove:
    refusal = one.refusal
    return PlannedMove(
        processor=one.move.processor,
        from_version=one.move.from_version,
        to_version=one.move.to_version,
        state=one.state.value,
        changes=one.changes,
        refusal=None if refusal is None else str(refusal),
        hint=None if refusal is None else refusal.hint,
        waits=tuple(str(error) for error in (one.behind, one.held_up) if error is not None),
        partitions=tuple(
            PlannedPartition(
                topic=lag.topic,
                topic_id=lag.topic_id,
                partition=lag.partition,
                from_offset=lag.from_offset,
                to_offset=lag.to_offset,
                served=lag.served,
                behind=lag.behind,
            )
            for lag in one.lags
        ),
        statements=one.statements,
        dependents=one.dependents,
    )
