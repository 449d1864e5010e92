"""What a replay would do, and every reason to refuse it, found before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from kappa import plugins
from kappa.config import Settings, require_kafka, require_postgres
from kappa.errors import KappaError
from kappa.log.history import TopicHistory, require_complete, topic_history
from kappa.registry.topic import TopicRegistry
from kappa.runtime.assembly import Assembly, assemble, registry_of
from kappa.runtime.checks import check_partitions, check_positions, check_uncompacted, unread
from kappa.runtime.outputs.registration import check_outputs, require_original
from kappa.tables import build, progress
from kappa.tables.bookkeeping import require_current
from kappa.tables.engine import connect
from kappa.tables.progress import PartitionProgress
from kappa.versions import records, timeline
from kappa.versions.keyed_layout import check_state
from kappa.versions.lifecycle import UNBUILT, State
from kappa.versions.records import VersionRecord


@dataclass(frozen=True)
class Span:
    """What is to be read of one partition: offsets ``[start, end)``."""

    topic: str
    partition: int
    start: int
    end: int


@dataclass(frozen=True)
class Plan:
    """A replay that nothing speaks against.

    Attributes:
        state: the version's state now; None when it does not exist yet.
        building: whether the version's tables are still being built.
        begun_s: how long ago its build began, in seconds; zero unless it is being built.
        spans: one per partition, those with nothing to read included.
        overridden: guards that were overridden, to be recorded for good.
        warnings: what a person should know and nothing refuses.
    """

    settings: Settings
    registry: TopicRegistry
    assembly: Assembly
    history: TopicHistory
    state: State | None
    building: bool
    begun_s: float
    spans: tuple[Span, ...]
    overridden: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def offsets(self) -> int:
        """How many offsets there are to read."""
        return sum(span.end - span.start for span in self.spans)


def plan(
    settings: Settings,
    name: str,
    version: int | None,
    *,
    allow_truncated: bool = False,
    allow_derived: bool = False,
) -> Plan:
    """Looks at everything a replay needs and refuses what cannot end well.

    Raises:
        KappaError: the first of the refusals.
    """
    planned, refusals = examine(
        settings, name, version, allow_truncated=allow_truncated, allow_derived=allow_derived
    )
    for refusal in refusals:
        raise refusal
    return planned


def examine(
    settings: Settings,
    name: str,
    version: int | None,
    *,
    allow_truncated: bool = False,
    allow_derived: bool = False,
) -> tuple[Plan, tuple[KappaError, ...]]:
    """The plan, and everything that speaks against it.

    Raises:
        KappaError: what keeps it from being looked at: no such processor, topic or schema, no
            server, a declaration that does not fit.
    """
    loaded = plugins.load(plugins.find(name, version))
    registry = registry_of(settings)
    judge = _Judge()
    engine = connect(require_postgres(settings))
    try:
        with engine.connect() as connection:
            require_current(connection)
            record = records.find(connection, loaded.plugin.name, loaded.plugin.version)
            found = progress.read(connection, loaded.plugin.name, loaded.plugin.version)
            steps = timeline.read(connection, loaded.plugin.name, loaded.plugin.version)
            # After the positions: whoever else reads may move them past what is seen here.
            history = topic_history(require_kafka(settings), loaded.declaration.source.topic)
            assembly = assemble(loaded, registry, record.reader_schema_id if record else None)
            if record is None:
                judge.passes(partial(build.check_names, connection, assembly.layout))
    finally:
        engine.dispose()
    overridden = judge.overridden(
        partial(
            require_complete,
            unread(found, history),
            accept_compacted=assembly.accepts_compacted,
            allow_truncated=allow_truncated,
        )
    )
    if record is None:
        overridden += judge.overridden(
            partial(require_original, registry, assembly.topic, allow_derived=allow_derived)
        )
        judge.passes(partial(check_outputs, require_kafka(settings), registry, assembly.layout))
    else:
        judge.passes(partial(records.check_identity, record, assembly.fingerprint))
        judge.passes(partial(check_state, record.layout, assembly.layout))
        # Its tables are as they were made, perhaps by an older kappa with other columns.
        assembly = replace(assembly, layout=record.layout)
        judge.passes(partial(check_uncompacted, steps, assembly.topic))
        judge.passes(partial(check_positions, found, history))
        judge.passes(partial(check_partitions, found, history, keyed=assembly.bound.keyed))
    building = record is None or record.state in UNBUILT
    planned = Plan(
        settings=settings,
        registry=registry,
        assembly=assembly,
        history=history,
        state=record.state if record else None,
        building=building,
        begun_s=_age_s(record) if record is not None and building else 0.0,
        spans=_spans(found, history, building=building),
        overridden=overridden,
        warnings=_warnings(history),
    )
    return planned, tuple(judge.refusals)


@dataclass(frozen=True)
class _Judge:
    """Asks one guard after the other and keeps what they object."""

    refusals: list[KappaError] = field(default_factory=list)

    def passes(self, guard: Callable[[], object]) -> None:
        """Asks a guard that only objects."""
        try:
            guard()
        except KappaError as error:
            self.refusals.append(error)

    def overridden(self, guard: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
        """Asks a guard that can be overridden: what was."""
        try:
            return guard()
        except KappaError as error:
            self.refusals.append(error)
            return ()


def _age_s(record: VersionRecord) -> float:
    return (datetime.now(UTC) - record.created_at).total_seconds()


def _spans(
    found: tuple[PartitionProgress, ...], history: TopicHistory, *, building: bool
) -> tuple[Span, ...]:
    rows = {row.partition: row for row in found}
    spans = []
    for part in history.partitions:
        row = rows.get(part.partition)
        start = row.next_offset if row else part.log_start
        captured = row.target_offset if row and building else None
        end = part.end if captured is None else captured
        spans.append(Span(part.topic, part.partition, start, max(start, end)))
    return tuple(spans)


def _warnings(history: TopicHistory) -> tuple[str, ...]:
    if history.log_append_time:
        return ()
    return (
        f"{history.topic} has timestamps of its producers: set message.timestamp.type to"
        " LogAppendTime, or a wrong producer clock can make records dead letters",
    )
