"""What speaks against a promote, as far as that can be known without a lock."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from kappa.errors import (
    DatabaseUnavailable,
    DiffMissing,
    IllegalTransition,
    KappaError,
    NotCaughtUp,
)
from kappa.tables import catalog, snapshots, views
from kappa.versions import comparisons, old_readers, records
from kappa.versions.deployment import Move, Options
from kappa.versions.lifecycle import UNBUILT, State, check_transition
from kappa.versions.outputs_begun import check_begun
from kappa.versions.outputs_waiting import check_left
from kappa.versions.records import VersionRecord
from kappa.versions.standing import Standing, standing

_TAKES_OVER = frozenset({State.READY, State.STANDBY})


@dataclass(frozen=True, slots=True)
class Lag:
    """A partition at a moment: where each version stands, and what was ever served.

    Partitions of a topic that was created again have a ``topic_id`` of their own.
    """

    topic: str
    topic_id: str
    partition: int
    from_offset: int | None
    to_offset: int | None
    served: int | None

    @property
    def behind(self) -> int:
        """How many offsets the new version lacks."""
        seen = max(self.from_offset or 0, self.served or 0)
        return max(seen - (self.to_offset or 0), 0)


@dataclass(frozen=True, slots=True)
class Examined:
    """A move as it was looked at.

    Attributes:
        changes: False where the version serves already.
        lags: every partition.
        statements: what will be run for the views.
        dependents: views that select from the views; they stay, and see the new version.
        refusal: the first thing that speaks against it, other than being behind.
        behind: that it is behind, if it is: a promote waits for that to pass.
        held_up: that a reader's snapshot is older than now, if one is: a promote outlasts it.
    """

    move: Move
    state: State
    changes: bool
    lags: tuple[Lag, ...]
    statements: tuple[str, ...]
    dependents: tuple[str, ...]
    refusal: KappaError | None
    behind: KappaError | None
    held_up: KappaError | None = None


def examine(conn: Connection, processor: str, version: int, options: Options) -> Examined:
    """Looks at one move.

    Raises:
        UnknownVersion: the version was never built.
        DatabaseUnavailable: the connection was lost, which says nothing of the version.
    """
    record = records.require(conn, processor, version)
    owner = records.find_processor(conn, processor)
    move = Move(processor, None if owner is None else owner.active_version, version)
    if move.from_version == version:
        return Examined(move, record.state, False, (), (), (), None, None)
    stand = standing(conn, move)
    former = None
    if move.from_version is not None:
        former = records.require(conn, processor, move.from_version)
    serving = None if former is None else former.layout
    refusal, behind = _against(conn, record, former, stand, options)
    named = views.view_names(record.layout)
    return Examined(
        move=move,
        state=record.state,
        changes=True,
        lags=_lags(stand),
        statements=() if refusal is not None else views.statements(conn, record.layout, serving),
        dependents=tuple(one for name in named for one in catalog.dependents(conn, name)),
        refusal=refusal,
        behind=behind,
        held_up=_held_up(conn, move, options),
    )


def _against(
    conn: Connection,
    record: VersionRecord,
    former: VersionRecord | None,
    stand: Standing,
    options: Options,
) -> tuple[KappaError | None, KappaError | None]:
    serving = None if former is None else former.layout
    try:
        with conn.begin_nested():  # a table may be gone: what follows is still to be asked
            _check_state(record)
            if former is not None and options.require_diff:
                _check_diff(conn, former, record)
            views.check_view(conn, record.layout, serving, recreate=options.recreate)
            check_begun(conn, stand.move, stand.blue, serving, record.layout)
            accepted = stand.recreated() & options.dropped_sources
            check_left(conn, stand.move, serving, record.layout, accepted)
    except DatabaseUnavailable:
        raise
    except KappaError as error:
        return error, None
    try:
        stand.check(options.dropped_sources)
    except NotCaughtUp as error:
        return None, error
    except KappaError as error:
        return error, None
    return None, None


def _held_up(conn: Connection, move: Move, options: Options) -> KappaError | None:
    if move.from_version is None or options.ignore_snapshots:
        return None
    return old_readers.find(conn, snapshots.now(conn))


def _check_state(record: VersionRecord) -> None:
    name, version = record.processor, record.version
    if record.state in UNBUILT:
        raise IllegalTransition(
            f"{name} version {version} is {record.state.value}, not ready",
            hint=f"kappa replay {name} --version {version}",
        )
    if record.state not in _TAKES_OVER:
        check_transition(name, version, record.state, State.SERVING)


def _check_diff(conn: Connection, former: VersionRecord, record: VersionRecord) -> None:
    """Passes if the last comparison of the two was accepted, and is of the code they are now."""
    name = record.processor
    found = comparisons.latest(conn, name, former.version, record.version)
    if found is None:
        why = "was never compared with"
    elif found.fingerprints != (former.fingerprint, record.fingerprint):
        why = "has other code since it was compared with"
    elif not found.accepted:
        why = "differs by more than was allowed from"
    else:
        return
    raise DiffMissing(
        f"{name} version {record.version} {why} version {former.version}",
        compared=found and f"{found.at:%Y-%m-%d %H:%M}",
        hint=f"kappa diff {name} --from {former.version} --to {record.version}",
    )


def _lags(stand: Standing) -> tuple[Lag, ...]:
    by_place = [
        {(at.topic, at.topic_id, at.partition): at.next_offset for at in positions}
        for positions in (stand.blue, stand.green, stand.served)
    ]
    places = sorted(set().union(*by_place))
    return tuple(Lag(*place, *(known.get(place) for known in by_place)) for place in places)
