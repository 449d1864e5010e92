"""Whether the log is still the one a version has read so far, looked at before it reads on."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from kappa.errors import (
    CompactedTopic,
    HistoryTruncated,
    OffsetOutOfRange,
    PartitionsChanged,
    TopicRecreated,
)
from kappa.log.history import PartitionHistory, TopicHistory
from kappa.tables.progress import PartitionProgress
from kappa.versions.timeline import Step


def unread(found: Collection[PartitionProgress], history: TopicHistory) -> TopicHistory:
    """The history of the partitions a version has not begun to read.

    Those it has are guarded by its own positions, see ``check_positions``.
    """
    known = {row.partition for row in found}
    left = tuple(part for part in history.partitions if part.partition not in known)
    return replace(history, partitions=left)


def check_positions(
    found: Collection[PartitionProgress],
    history: TopicHistory,
    later: Collection[PartitionProgress] | None = None,
) -> None:
    """Passes if every position lies in the log of the topic it was read from.

    Others may move positions and delete records all the while. So only what was committed before
    the log was looked at can be held against its end, and only what was committed after that
    against its start.

    Args:
        found: positions as they were before ``history`` was looked up.
        later: as they were after that; the same where nobody else works.

    Raises:
        TopicRecreated: the topic is another one of the same name, or has fewer partitions.
        OffsetOutOfRange: the log ends before a position.
        HistoryTruncated: the log begins after a position.
    """
    ends = {part.partition: part for part in history.partitions}
    for row in found:
        part = ends.get(row.partition)
        if part is None or part.topic_id != row.topic_id:
            raise TopicRecreated(
                "the topic was deleted and created again since this version was built",
                topic=row.topic,
                partition=row.partition,
                hint="this version's rows are of the old topic: replay a new version, and promote"
                f" it with --drop-source {row.topic}",
            )
        _require_reach(
            part,
            row.next_offset,
            "the version has read further than the log now reaches",
            "the log lost records; replay a new version from what is left",
        )
        _require_reach(
            part,
            row.target_offset,
            "the log does not reach the end that was captured when the build began",
            "the log lost records; 'kappa abort' the build, replay what is left",
        )
    for row in found if later is None else later:
        part = ends.get(row.partition)  # none: it is newer than what was looked up
        if part is not None and row.next_offset < part.log_start:
            raise HistoryTruncated(
                "records that this version has not read yet are gone",
                topic=row.topic,
                partition=row.partition,
                offset=row.next_offset,
                log_start=part.log_start,
                hint="replay a new version with --allow-truncated",
            )


def _require_reach(part: PartitionHistory, offset: int | None, message: str, hint: str) -> None:
    if offset is not None and offset > part.high_watermark:
        raise OffsetOutOfRange(
            message,
            topic=part.topic,
            partition=part.partition,
            offset=offset,
            log_end=part.high_watermark,
            hint=hint,
        )


def check_partitions(
    found: Collection[PartitionProgress], history: TopicHistory, *, keyed: bool
) -> None:
    """Where a key decides the partition, a new partition moves keys away from their rows.

    Raises:
        PartitionsChanged: the version keeps something per key and the topic has new partitions.
    """
    if keyed and len(history.partitions) != len(found):
        raise PartitionsChanged(
            "the topic has other partitions than when this version was built",
            topic=history.topic,
            then=len(found),
            now=len(history.partitions),
            hint="replay a new version: keys now lie in other partitions",
        )


def check_uncompacted(steps: Iterable[Step], topic: str) -> None:
    """Whether the topic is compacted now says nothing about what a build has read before.

    Raises:
        CompactedTopic: a build failed because the topic had been made a compacted one.
    """
    if any(step.detail.get("error") == CompactedTopic.__name__ for step in steps):
        raise CompactedTopic(
            "the topic was a compacted one while this version was built: records may be missing",
            topic=topic,
            hint="'kappa abort' the build, and replay a new version",
        )
