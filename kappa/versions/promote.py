"""Moving processors' views to other versions: one transaction, in which readers' time cannot
go back.

Both versions' offset rows are locked, so neither moves while they are compared. A view moves only
if the new version has read, in every partition, at least as far as the old one has and as far as
was ever served. A swap that meets a lock, or a new version that is a little behind, is tried
again; where the new one never gets ahead of the old, the old one takes no more input for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

from sqlalchemy import Engine
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from kappa.errors import (
    DatabaseUnavailable,
    Deadlock,
    DrainExpired,
    KappaError,
    LockTimeout,
    NotCaughtUp,
    OffsetsBusy,
)
from kappa.failpoints import reach
from kappa.tables import workers
from kappa.versions import drain, preflight
from kappa.versions.deployment import Action, Deployment, Moved, Options
from kappa.versions.drain import Drain
from kappa.versions.old_readers import outlast
from kappa.versions.outcome import settle
from kappa.versions.preflight import Examined
from kappa.versions.standing import read_positions, standing
from kappa.versions.swap import is_done, run

LOCK_TIMEOUT_MS = 50
"""While we wait for the view's lock, new readers queue behind us: for no longer than this."""


@dataclass(frozen=True, slots=True)
class Persistence:
    """How long a promote goes on.

    Attributes:
        lock_timeout_ms: how long one attempt waits for a lock.
        deadline_s: for everything.
        idle_s: how long a version that is behind may stand still before that is final, where
            somebody follows it: longer than a group takes to replace a worker that has died.
        unread_s: the same where nobody does.
        drain_after: attempts that find it behind before the old one drains; None for never.
        drain_s: how long the old version may be without input.
    """

    lock_timeout_ms: int = LOCK_TIMEOUT_MS
    deadline_s: float = 30.0
    idle_s: float = 15.0
    unread_s: float = 5.0
    drain_after: int | None = 5
    drain_s: float = 10.0


PATIENT = Persistence()
_NOTHING_SPECIAL = Options()


@dataclass(frozen=True, slots=True)
class Promoted:
    """What a promote did.

    Attributes:
        deployment_id: names the rows of the history; None when nothing changed.
        attempts: transactions begun, the last one included.
        drained: whether the old version had to stop taking input.
    """

    moves: tuple[Moved, ...]
    deployment_id: UUID | None
    attempts: int
    drained: bool

    @property
    def changed(self) -> bool:
        """Whether any view was moved."""
        return any(move.changed for move in self.moves)


def promote(
    engine: Engine,
    versions: Mapping[str, int],
    *,
    who: str,
    action: Action = Action.PROMOTE,
    options: Options = _NOTHING_SPECIAL,
    persistence: Persistence = PATIENT,
    deployment_id: UUID | None = None,
    serving: Mapping[str, int | None] | None = None,
    listener: Callable[[str], None] = lambda said: None,
) -> Promoted:
    """Makes these versions, by processor, the ones the views select from: all of them or none.

    A view is created at its first promote. A COMMIT without an answer is settled by the history.
    ``serving`` are the versions that must be the ones in service, by processor; whichever is where
    it is not given. ``listener`` hears what is waited for, once for each reason.

    Raises:
        UnknownVersion: it was never built.
        IllegalTransition: it is not ready, or another promote came first.
        NotCaughtUp, DrainExpired: a partition is behind and does not catch up; it is named.
        DiffMissing: a comparison is required, and there is none that was accepted.
        SourceDropped: readers have seen a topic it does not read.
        TopicRecreated: the versions read different topics of one name.
        NameTaken, ViewIncompatible: a view cannot be moved to it.
        OldSnapshot: a reader's snapshot is older than the version.
        LockTimeout: readers held a view until the deadline.
        DatabaseUnavailable: the connection was lost, and the swap is known not to have happened,
            or (``outcome="unknown"``) the database did not come back to tell.
    """
    found = examine(engine, versions, options)
    for one in found:
        if serving is not None:
            asked = replace(one.move, from_version=serving[one.move.processor])
            is_done(asked, one.move.from_version)
        if one.refusal is not None:
            raise one.refusal
    deployment = Deployment(
        action,
        who,
        tuple(one.move for one in found),
        persistence.lock_timeout_ms,
        options,
        deployment_id or uuid4(),
    )
    if not any(one.changes for one in found):
        return Promoted(deployment.moved({}), None, 0, False)
    return _Promotion(engine, deployment, persistence, listener).run()


def examine(engine: Engine, versions: Mapping[str, int], options: Options) -> list[Examined]:
    """What the promote would do, by processor, and what speaks against it. Changes nothing.

    Raises:
        UnknownVersion: a version was never built.
    """
    with engine.begin() as conn:
        return [
            preflight.examine(conn, name, version, options)
            for name, version in sorted(versions.items())
        ]


@dataclass(frozen=True, slots=True)
class _Seen:
    """How far a version that is behind has come, since when, and whether that was seen to rise."""

    reached: int
    at: float
    has_gained: bool


class _Promotion:
    """A deployment that is tried until it succeeds, is refused, or time is over."""

    def __init__(
        self,
        engine: Engine,
        deployment: Deployment,
        persistence: Persistence,
        listener: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._listener = listener
        self._told: set[str] = set()
        self._deployment = deployment
        self._persistence = persistence
        self._drains: tuple[Drain, ...] = ()
        self._drained_at: float | None = None
        self._behind = 0
        self._deadline = time.monotonic() + persistence.deadline_s
        self._has_fresh_readers = False
        self._seen: dict[str, _Seen] = {}
        self._has_gained = False

    def run(self) -> Promoted:
        """The whole of it; whatever happens, nothing drains afterwards."""
        try:
            moves, attempts = self._persist()
        except BaseException as error:
            self._undrain(error)
            raise
        reach("promoted")
        changed = any(move.changed for move in moves)
        if not changed:
            self._undrain(None)
        return Promoted(
            moves, self._deployment.id if changed else None, attempts, bool(self._drains)
        )

    def _persist(self) -> tuple[tuple[Moved, ...], int]:
        limits = self._persistence
        attempts = Retrying(
            retry=retry_if_exception(self._may_pass),
            wait=wait_random_exponential(multiplier=0.02, max=0.25),
            stop=stop_after_delay(limits.deadline_s),
            reraise=True,
        )
        for attempt in attempts:
            with attempt:
                if self._is_drain_due():
                    self._drain()
                number = attempt.retry_state.attempt_number
                moves = self._attempt(backwards=number % 2 == 0)
        return moves, number

    def _attempt(self, *, backwards: bool) -> tuple[Moved, ...]:
        try:
            self._outlast_readers()
            return self._swap(backwards=backwards)
        except OffsetsBusy:
            self._behind += 1  # we have not even come to compare
            self._has_gained = True
            raise
        except NotCaughtUp as error:
            self._behind += 1
            self._has_fresh_readers = False
            if self._is_drained_too_long():
                raise DrainExpired(
                    f"{error.message}, and did not catch up while that took no input",
                    **error.detail,
                    seconds=self._persistence.drain_s,
                    hint="is it being read? 'kappa status' shows how fast; or allow it more time",
                ) from error
            raise

    def _swap(self, *, backwards: bool) -> tuple[Moved, ...]:
        try:
            with self._engine.begin() as conn:
                return run(conn, self._deployment, backwards=backwards)
        except DatabaseUnavailable as error:
            return settle(self._engine, self._deployment, error)

    def _may_pass(self, error: BaseException) -> bool:
        """Whether it is worth trying again after this, which is told then."""
        if isinstance(error, NotCaughtUp):
            passes = self._gains(error)
        else:
            passes = isinstance(error, (LockTimeout, Deadlock)) and not self._is_drained_too_long()
        if passes and isinstance(error, KappaError):
            self._tell(error.message)
        return passes

    def _gains(self, error: NotCaughtUp) -> bool:
        """Whether the new version that is behind has read on lately, whatever others have done."""
        limits = self._persistence
        name = str(error.detail["processor"])
        new = {move.processor: move.to_version for move in self._deployment.moves}
        with self._engine.begin() as conn:
            reached = sum(at.next_offset for at in read_positions(conn, name, new[name]))
            is_followed = bool(workers.read(conn, name, new[name]))
        seen = self._seen.get(name)
        if seen is None or reached > seen.reached:
            seen = self._seen[name] = _Seen(reached, time.monotonic(), has_gained=seen is not None)
        self._has_gained = seen.has_gained
        patience_s = limits.idle_s if is_followed else limits.unread_s
        return time.monotonic() - seen.at < patience_s

    def _drain(self) -> None:
        for move in self._deployment.moves:
            if move.from_version is not None and move.from_version != move.to_version:
                self._tell(
                    f"{move.processor} version {move.from_version} takes no input until version"
                    f" {move.to_version} has caught up"
                )
        self._drains = drain.begin(
            self._engine,
            self._deployment.moves,
            self._persistence.drain_s,
            by=self._deployment.who,
            deployment_id=self._deployment.id,
        )
        self._drained_at = time.monotonic()

    def _outlast_readers(self) -> None:
        """Waits for readers that would see too little, where there is a view they may read.

        Only once the new versions have caught up, as one look without locks says: a snapshot taken
        before shows them as they were. A swap that comes without that could meet them just as they
        catch up.

        Raises:
            NotCaughtUp: they have not.
            OldSnapshot: a session still has one at the deadline.
        """
        deployment = self._deployment
        first = all(move.from_version is None for move in deployment.moves)
        if self._has_fresh_readers or first or deployment.options.ignore_snapshots:
            return
        with self._engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
            for move in deployment.moves:
                standing(conn, move).check(deployment.options.dropped_sources)
        until = self._deadline
        if self._drained_at is not None:
            until = min(until, self._drained_at + self._persistence.drain_s)
        outlast(self._engine, max(until - time.monotonic(), 0.0), self._tell)
        self._has_fresh_readers = True

    def _tell(self, said: str) -> None:
        if said not in self._told:
            self._told.add(said)
            self._listener(said)

    def _is_drain_due(self) -> bool:
        """Whether trying has not been enough, and somebody reads who could use the time."""
        after = self._persistence.drain_after
        if self._drained_at is not None or after is None or not self._has_gained:
            return False
        return self._behind >= after

    def _is_drained_too_long(self) -> bool:
        since = self._drained_at
        return since is not None and time.monotonic() - since > self._persistence.drain_s

    def _undrain(self, error: BaseException | None) -> None:
        reason = type(error).__name__ if error is not None else "another promote came first"
        for one in self._drains:
            try:
                drain.end(self._engine, one, by=self._deployment.who, reason=reason)
            except KappaError:  # it ends by itself when its time is over
                continue
