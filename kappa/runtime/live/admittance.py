"""Whether a version may be followed now, looked at each time before it is."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine

from kappa.config import KafkaSettings
from kappa.errors import IllegalTransition
from kappa.log.history import require_complete, topic_history
from kappa.runtime.assembly import Assembly
from kappa.runtime.checks import check_partitions, check_positions, unread
from kappa.runtime.live.pulse import Note
from kappa.tables import progress
from kappa.tables.progress import NewPartition, PartitionProgress
from kappa.versions import drain, records, timeline
from kappa.versions.lifecycle import UNBUILT, State


class Departed(Exception):
    """The version is retired: there is nothing left to follow. It never leaves a worker."""


def takes_input(engine: Engine, assembly: Assembly) -> bool:
    """Whether the version may read on; one that is draining may not, until its time is over.

    Raises:
        Departed: it is retired.
        IllegalTransition: it is still being built.
    """
    name, version = assembly.name, assembly.version
    with engine.connect() as connection:
        state = records.require(connection, name, version).state
    if state is State.DRAINING:
        with engine.begin() as connection:
            return drain.expire(connection, name, version, by=timeline.who())
    if state is State.RETIRED:
        raise Departed
    if state in UNBUILT:
        raise IllegalTransition(
            f"{name} version {version} is {state.value}, not built",
            hint=f"kappa replay {name} --version {version}",
        )
    return True


def registered_positions(
    engine: Engine, kafka: KafkaSettings, assembly: Assembly, tell: Callable[[Note], None]
) -> tuple[PartitionProgress, ...]:
    """The version's positions, new partitions of its topic included; ``tell`` hears of those.

    Raises:
        TopicRecreated, OffsetOutOfRange, HistoryTruncated: the log is not the one it was built
            from, or has lost what it has not read.
        CompactedTopic: the topic was made a compacted one, and the version needs all of history.
        PartitionsChanged: there are new partitions, and it keeps something per key.
    """
    name, version = assembly.name, assembly.version
    with engine.connect() as connection:
        before = progress.read(connection, name, version)
    history = topic_history(kafka, assembly.topic)
    with engine.begin() as connection:
        found = progress.read(connection, name, version)
        check_positions(before, history, found)
        check_partitions(found, history, keyed=assembly.bound.keyed)
        new = unread(found, history)
        require_complete(new, accept_compacted=assembly.accepts_compacted)
        if not new.partitions:
            return found
        fresh = [
            NewPartition(part.topic, part.partition, part.topic_id, part.log_start)
            for part in new.partitions
        ]
        progress.register(connection, name, version, fresh)
        found = progress.read(connection, name, version)
    tell(
        Note(
            "the topic has new partitions: keys may have moved to them, so records of one key are"
            " no longer in the order in which they were published",
            {"topic": history.topic, "partitions": len(history.partitions)},
        )
    )
    return found
