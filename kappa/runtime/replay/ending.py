"""After the last record: the topic is looked at once more, and then the version is ready."""

from __future__ import annotations

from sqlalchemy import Engine

from kappa.config import require_kafka
from kappa.errors import CompactedTopic, IllegalTransition, TopicRecreated
from kappa.failpoints import reach
from kappa.log.history import topic_history
from kappa.runtime.assembly import Assembly
from kappa.runtime.checks import check_uncompacted
from kappa.runtime.replay.plan import Plan
from kappa.tables import build, progress
from kappa.tables.progress import PartitionProgress
from kappa.versions import manifest, records, timeline
from kappa.versions.lifecycle import State
from kappa.versions.manifest import Run


def check_history_after(plan: Plan) -> None:
    """Passes if the topic is still the one that was looked at before, and keeps what it kept.

    A reader finds out itself where the beginning of a log overtakes it; not where compaction
    does, which leaves gaps as aborted records do.

    Raises:
        TopicRecreated: it is another one.
        CompactedTopic: it was made a compacted one, and the version needs all of history.
    """
    after = topic_history(require_kafka(plan.settings), plan.assembly.topic)
    if after.topic_id != plan.history.topic_id:
        raise TopicRecreated(
            "the topic was deleted and created again during the replay",
            topic=plan.assembly.topic,
            hint="replay a new version; where one serves that has read the old topic, promote the"
            f" new one with --drop-source {plan.assembly.topic}",
        )
    if after.compacted and not plan.assembly.accepts_compacted:
        raise CompactedTopic(
            "the topic was made a compacted one during the replay: records may be gone unread",
            topic=plan.assembly.topic,
            hint="replay a new version from a topic that keeps all of history",
        )


def finish(engine: Engine, plan: Plan, run: Run) -> tuple[State, int]:
    """Makes the tables' keys and the version ready; counts rows of one that already is.

    One process at a time: another that shares the replay may have come first. ``run`` is what is
    recorded of it if it is this one. With every partition at its end no checkpoint is under way:
    no replay reads past these ends, and while the version is held no partition is added.

    Raises:
        IllegalTransition: a partition is not at its end.
        CompactedTopic: the build has failed meanwhile, because compaction has begun.
    """
    assembly = plan.assembly
    with engine.begin() as connection:
        state = records.hold(connection, assembly.name, assembly.version)
        reached = progress.read(connection, assembly.name, assembly.version)
        _check_reached(reached, assembly)
        rows = build.finish(connection, assembly.layout, assembly.bound.remerge)
        if plan.building and state is State.FAILED:  # by another process that shares the replay
            steps = timeline.read(connection, assembly.name, assembly.version)
            check_uncompacted(steps, assembly.topic)
            state = records.resume(connection, assembly.name, assembly.version)
        if plan.building and state is State.BUILDING:
            manifest.make_ready(
                connection,
                assembly.name,
                assembly.version,
                rows=rows,
                run=run,
                partitions=reached,
            )
            reach("finish_written")
            return State.READY, rows
        return state, rows


def _check_reached(reached: tuple[PartitionProgress, ...], assembly: Assembly) -> None:
    for row in reached:
        if row.target_offset is not None and row.next_offset < row.target_offset:
            raise IllegalTransition(
                f"{assembly.name} version {assembly.version} is not built to its end",
                topic=row.topic,
                partition=row.partition,
                offset=row.next_offset,
                end=row.target_offset,
                hint="another replay may be at work; run this one again to finish it",
            )


def outlasted(plan: Plan, seconds: float) -> tuple[str, ...]:
    """A warning where a tombstone may have been removed before it was read, so its row stands."""
    taken_ms = (plan.begun_s + seconds) * 1000
    if not plan.history.compacted or taken_ms < plan.history.delete_retention_ms:
        return ()
    return (
        f"the build took longer than delete.retention.ms of {plan.history.topic}: deletions"
        " made meanwhile may be missing; raise it and replay a new version",
    )
