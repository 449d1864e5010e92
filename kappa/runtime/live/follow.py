"""A worker that follows a version: whatever its group hands it, it claims, reads and commits.

Each change of what it holds ends one tenure and begins another, which takes positions, epochs,
open sessions and states from PostgreSQL. So do faults that pass: after them nothing that was in
memory is trusted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from kappa.config import Settings, require_kafka, require_postgres
from kappa.errors import (
    BrokerUnavailable,
    DatabaseUnavailable,
    Deadlock,
    Fenced,
    LockTimeout,
    RegistryUnavailable,
    UnknownSchema,
)
from kappa.log.ends import Ends, EndsWatch
from kappa.log.membership import Holding, Membership
from kappa.plugins import find, load
from kappa.registry.topic import TopicRegistry
from kappa.runtime.assembly import Assembly, assemble, registry_of
from kappa.runtime.beat import Beat
from kappa.runtime.live.admittance import Departed, registered_positions, takes_input
from kappa.runtime.live.pulse import Pulse
from kappa.runtime.live.watchdog import Watchdog
from kappa.runtime.processes import Desk, signature
from kappa.runtime.worker.checkpoint import LogEnds
from kappa.runtime.worker.holding import stands
from kappa.runtime.worker.job import Report, Rhythm
from kappa.runtime.worker.steps import run_in_steps
from kappa.runtime.worker.tenure import Tenure
from kappa.runtime.worker.terms import Terms
from kappa.runtime.worker.worker import taken_over
from kappa.tables.engine import connect
from kappa.tables.finality import Partition
from kappa.tables.progress import PartitionProgress
from kappa.telemetry.logs import configure_logs
from kappa.versions import records
from kappa.versions.keyed_layout import check_state

PASSING = (
    BrokerUnavailable,
    DatabaseUnavailable,
    Deadlock,
    LockTimeout,
    RegistryUnavailable,
    UnknownSchema,
)
"""What may be over when it is tried again. A schema may be registered after its first record."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 10.0
_FENCED_PAUSE_S = 2.0
"""Longer than a heartbeat: whoever lost a partition without noticing learns it meanwhile."""
_COMMIT_PATIENCE_S = 3600.0
"""A database that is away is waited for, and said to be; a hang is the watchdog's affair."""
_DRAINING_LOOK_S = 0.2
_FIRST_ENDS_S = 5.0
"""Without knowing where the log ends nothing becomes final; all else need not wait for that."""
_WATCH_EVERY_S = 1.0


@dataclass(frozen=True)
class Following:
    """Which version a worker follows, and how."""

    settings: Settings
    name: str
    version: int
    rhythm: Rhythm

    @property
    def group(self) -> str:
        """The consumer group that shares the version's partitions out."""
        return f"kappa.{self.name}.v{self.version}"

    @property
    def owner(self) -> str:
        return signature(os.getpid())


def follow(task: Following, desk: Desk) -> None:
    """Follows the version until the parent says stop or the version is retired.

    Raises:
        KappaError: something that does not pass by waiting.
    """
    configure_logs(task.settings.telemetry.log_form, task.settings.telemetry.log_level)
    try:
        _Follower(task, desk).run()
    except Departed:
        return


def log_ends(topic: str, places: Collection[Partition], latest: Ends) -> LogEnds | None:
    """What the last answer about the ends of a topic says; None where there is none that counts.

    Where the broker could not be asked there may be more by now than it said before.
    """
    known = latest.by_partition
    if latest.error is not None or not known:
        return None
    spans = [(topic, number, end) for number, end in known.items()]
    return LogEnds(spans, [place for place in places if place[1] in known])


class _Follower:
    def __init__(self, task: Following, desk: Desk) -> None:
        self._task = task
        self._desk = desk
        self._kafka = require_kafka(task.settings)
        self._pause_s = _FIRST_PAUSE_S

    def run(self) -> None:
        registry, assembly = self._assembled()
        task = self._task
        with (
            EndsWatch(self._kafka, assembly.topic) as ends,
            Membership(self._kafka, task.group, assembly.topic) as membership,
        ):
            self._keep_on(assembly, registry, ends, membership)

    def _keep_on(
        self,
        assembly: Assembly,
        registry: TopicRegistry,
        ends: EndsWatch,
        membership: Membership,
    ) -> None:
        watchdog = Watchdog(assembly.bound.declaration.source, ends, membership, self._desk)
        with Beat("kappa-watchdog", _WATCH_EVERY_S, watchdog.look):
            while not self._desk.stopping.is_set():
                held = membership.take()
                if held.partitions:
                    self._work(assembly, registry, ends, membership, watchdog, held)
                membership.released(held)
                if not held.partitions:
                    watchdog.rest()
                    membership.wait(held, _FIRST_PAUSE_S)

    def _assembled(self) -> tuple[TopicRegistry, Assembly]:
        """The version put together as it was when it was made, once the servers answer."""
        while True:
            try:
                return self._assemble()
            except PASSING as error:
                self._desk.send(Pulse("waiting", error=error))
                self._rest()
            if self._desk.stopping.is_set():
                raise Departed

    def _assemble(self) -> tuple[TopicRegistry, Assembly]:
        task = self._task
        loaded = load(find(task.name, task.version))
        registry = registry_of(task.settings)
        engine = connect(require_postgres(task.settings))
        try:
            with engine.connect() as connection:
                record = records.require(connection, task.name, task.version)
        finally:
            engine.dispose()
        assembly = assemble(loaded, registry, record.reader_schema_id)
        records.check_identity(record, assembly.fingerprint)
        check_state(record.layout, assembly.layout)
        return registry, replace(assembly, layout=record.layout)

    def _work(
        self,
        assembly: Assembly,
        registry: TopicRegistry,
        ends: EndsWatch,
        membership: Membership,
        watchdog: Watchdog,
        held: Holding,
    ) -> None:
        """One tenure over what is held, and the pause after it, if one is due."""

        def stopping() -> bool:
            return (
                self._desk.stopping.is_set()
                or not membership.stands(held)
                or watchdog.wants_new_client
            )

        try:
            places: dict[Partition, int | None] = {
                (assembly.topic, number): None for number in sorted(held.partitions)
            }
            found = self._positions(assembly, watchdog, places, stopping)
            if found is None:
                return
            terms = self._terms(assembly, ends, found, watchdog)
            begin = partial(self._tenure, assembly, registry, watchdog, places)
            run_in_steps(begin, terms, stopping)
        except Fenced as error:
            membership.released(held)
            self._fenced(error, membership, watchdog, held)
        except PASSING as error:
            membership.released(held)
            watchdog.told(error)
            self._rest()
        finally:
            watchdog.watch(None)

    @contextmanager
    def _tenure(
        self,
        assembly: Assembly,
        registry: TopicRegistry,
        watchdog: Watchdog,
        places: Mapping[Partition, int | None],
        terms: Terms,
    ) -> Iterator[Tenure]:
        """Claims the places for a tenure that the watchdog watches."""
        watchdog.prepare()
        with taken_over(
            self._task.settings,
            assembly,
            registry,
            terms,
            places,
            self._task.owner,
            partial(self._committed, watchdog),
            watchdog.spent,
        ) as tenure:
            watchdog.watch(tenure)
            self._pause_s = _FIRST_PAUSE_S
            try:
                yield tenure
            finally:
                watchdog.watch(None)

    def _positions(
        self,
        assembly: Assembly,
        watchdog: Watchdog,
        places: Collection[Partition],
        stopping: Callable[[], bool],
    ) -> tuple[PartitionProgress, ...] | None:
        """The version's positions; None where it takes no input, until ``stopping`` says so.

        A version that is held takes none once these places are where it is held.
        """
        engine = connect(require_postgres(self._task.settings))
        watchdog.prepare()
        try:
            while not takes_input(engine, assembly) or stands(engine, assembly.layout, places):
                watchdog.rest()
                if stopping() or self._desk.stopping.wait(_DRAINING_LOOK_S):
                    return None
                watchdog.prepare()
            return registered_positions(engine, self._kafka, assembly, self._desk.send)
        finally:
            engine.dispose()

    def _committed(self, watchdog: Watchdog, report: Report) -> None:
        watchdog.told(None)
        self._desk.send(report)

    def _terms(
        self,
        assembly: Assembly,
        watch: EndsWatch,
        found: Collection[PartitionProgress],
        watchdog: Watchdog,
    ) -> Terms:
        topic = assembly.topic
        places = [(row.topic, row.partition) for row in found]
        watch.first(_FIRST_ENDS_S)
        return Terms(
            kafka=self._kafka,
            layout=assembly.layout,
            remerge=assembly.bound.remerge,
            building=False,
            limit=assembly.bound.declaration.max_dead_letters,
            rhythm=self._task.rhythm,
            ends=lambda: log_ends(topic, places, watch.latest),
            patience_s=_COMMIT_PATIENCE_S,
            on_lost=watchdog.told,
            sets_aside=True,
        )

    def _fenced(
        self, error: Fenced, membership: Membership, watchdog: Watchdog, held: Holding
    ) -> None:
        """Promotes and holds raise epochs and leave the owner; another owner is another worker.

        Then the group has decided anew, or is about to, and claiming at once would take back
        what was rightly taken.
        """
        owner = error.detail.get("owner_now")
        if owner is not None and owner != self._task.owner:
            watchdog.lost()
            membership.wait(held, _FENCED_PAUSE_S)

    def _rest(self) -> None:
        """Waits a little longer each time."""
        self._desk.stopping.wait(self._pause_s)
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
