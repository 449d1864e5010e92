"""A replay that several processes and hosts share: each run of the command joins it.

A consumer group deals the partitions out, and deals them out anew when a process comes or goes.
Everything else is as in a replay by one process: ends captured when it began, positions fenced
in PostgreSQL. Whoever sees every partition at its end first makes the version ready.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from sqlalchemy import Engine

from kappa.config import require_kafka, require_postgres
from kappa.errors import Fenced
from kappa.log.membership import Holding, Membership
from kappa.runtime.processes import signature
from kappa.runtime.replay.ending import check_history_after, finish, outlasted
from kappa.runtime.replay.execution import (
    CHECKPOINT_AFTER_S,
    Finished,
    begin,
    failing,
    registered,
)
from kappa.runtime.replay.plan import Plan
from kappa.runtime.worker.checkpoint import LogEnds
from kappa.runtime.worker.holding import stands
from kappa.runtime.worker.job import Report, Rhythm
from kappa.runtime.worker.steps import run_in_steps
from kappa.runtime.worker.tenure import Tenure
from kappa.runtime.worker.terms import Terms
from kappa.runtime.worker.worker import taken_over
from kappa.tables import progress
from kappa.tables.engine import connect
from kappa.tables.progress import PartitionProgress
from kappa.versions import drain, timeline
from kappa.versions.lifecycle import State
from kappa.versions.manifest import Run

_PATIENCE_S = 60.0
_LOOK_S = 0.5
_FENCED_PAUSE_S = 2.0


def join(
    plan: Plan,
    *,
    batch_size: int,
    rate_limit: float | None = None,
    listener: Callable[[int], None] = lambda offsets: None,
) -> Finished:
    """Takes part in the plan's replay until its version is ready, whoever makes it so.

    Args:
        rate_limit: records per second, of this process.
        listener: hears how many offsets have been passed, by all processes, since it last did.

    Raises:
        Fenced: the version was aborted or retired meanwhile.
        KappaError: a refusal, or a fault on the way. What was committed stays.
    """
    began = time.monotonic()
    engine = connect(require_postgres(plan.settings))
    try:
        plan = registered(plan)
        with engine.begin() as connection:
            begin(connection, plan)
        shared = _Shared(plan, engine, Rhythm(batch_size, CHECKPOINT_AFTER_S, rate_limit), listener)
        group = f"kappa.{plan.assembly.name}.v{plan.assembly.version}.build"
        with failing(engine, plan):
            with Membership(require_kafka(plan.settings), group, plan.assembly.topic) as membership:
                while shared.left():
                    held = membership.take()
                    shared.work(membership, held)
                    membership.released(held)
                    membership.wait(held, _LOOK_S)
            check_history_after(plan)
            state, rows = finish(engine, plan, shared.run(time.monotonic() - began))
    finally:
        engine.dispose()
    seconds = time.monotonic() - began
    return Finished(state, shared.read, rows, seconds, (*plan.warnings, *outlasted(plan, seconds)))


class _Shared:
    """This process's part of the replay, and how far all of them have come."""

    def __init__(
        self, plan: Plan, engine: Engine, rhythm: Rhythm, listener: Callable[[int], None]
    ) -> None:
        self.read = Report()
        self._plan = plan
        self._engine = engine
        self._listener = listener
        self._batch_size = rhythm.batch_size
        positions = self._positions()
        self._passed = sum(row.next_offset for row in positions)
        self._records_before = sum(row.records for row in positions)
        assembly = plan.assembly
        ends = LogEnds(tuple((span.topic, span.partition, span.end) for span in plan.spans))
        self._terms = Terms(
            kafka=require_kafka(plan.settings),
            layout=assembly.layout,
            remerge=assembly.bound.remerge,
            building=plan.building,
            limit=assembly.bound.declaration.max_dead_letters,
            rhythm=rhythm,
            ends=lambda: ends,
            patience_s=_PATIENCE_S,
        )

    def left(self) -> dict[int, int]:
        """The partitions that are not at their ends, and these ends.

        Raises:
            Fenced: the version is retired, so they will never be.
        """
        positions = self._positions()
        passed = sum(row.next_offset for row in positions)
        self._listener(passed - self._passed)
        self._passed = passed
        ends = {span.partition: span.end for span in self._plan.spans}
        if self._plan.building:  # those captured when it began, by whichever process that was
            ends |= {row.partition: row.target_offset or 0 for row in positions}
        return {
            row.partition: ends[row.partition]
            for row in positions
            # One that was added since is none of this replay's.
            if row.partition in ends and row.next_offset < ends[row.partition]
        }

    def run(self, seconds: float) -> Run:
        """What all processes together have done since this one joined them, so long ago."""
        positions = self._positions()
        return Run(
            records=sum(row.records for row in positions) - self._records_before,
            seconds=seconds,
            workers=len({row.owner for row in positions if row.owner is not None}),
            batch_size=self._batch_size,
        )

    def work(self, membership: Membership, held: Holding) -> None:
        """Reads what is held of what is left, until that changes."""
        plan = self._plan
        mine = {
            (plan.assembly.topic, number): end
            for number, end in sorted(self.left().items())
            if number in held.partitions
        }
        if not mine or stands(self._engine, plan.assembly.layout, mine):
            return

        me = signature(os.getpid())

        def begun(terms: Terms) -> AbstractContextManager[Tenure]:
            return taken_over(
                plan.settings, plan.assembly, plan.registry, terms, mine, me, self._heard
            )

        try:
            run_in_steps(begun, self._terms, lambda: not membership.stands(held))
        except Fenced:
            membership.released(held)
            membership.wait(held, _FENCED_PAUSE_S)

    def _heard(self, report: Report) -> None:
        self.read += report
        self.left()

    def _positions(self) -> tuple[PartitionProgress, ...]:
        name, version = self._plan.assembly.name, self._plan.assembly.version
        with self._engine.begin() as connection:
            if drain.require_kept(connection, name, version) is State.DRAINING:
                drain.expire(connection, name, version, by=timeline.who())
            return progress.read(connection, name, version)
