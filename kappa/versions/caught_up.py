"""Whether readers' time would go back: the comparison inside a promote, as a pure function."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kappa.errors import NotCaughtUp, SourceDropped, TopicRecreated


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """How far a version has read one partition; ``next_offset`` is the first not read."""

    topic: str
    partition: int
    topic_id: str
    next_offset: int


def check_caught_up(
    processor: str,
    version: int,
    blue: Iterable[Position],
    green: Iterable[Position],
    served: Iterable[Position],
    dropped: frozenset[str] = frozenset(),
) -> None:
    """Passes if ``green`` is at or past the version in service and all that was ever served.

    ``dropped`` are topics that it need not read, not even where it reads another one of the same
    name; one that it reads is compared all the same.

    Raises:
        NotCaughtUp: in some partition it is not, or does not read it at all.
        SourceDropped: it does not read a topic that readers have seen.
        TopicRecreated: it reads another topic of the same name.
    """
    reached = {(at.topic, at.partition): at for at in green}
    read = {at.topic: at.topic_id for at in reached.values()}
    for seen in sorted((*blue, *served)):
        if seen.topic in dropped and read.get(seen.topic) != seen.topic_id:
            continue
        accept = f"kappa promote {processor}@{version} --drop-source {seen.topic}"
        at = reached.get((seen.topic, seen.partition))
        if read.get(seen.topic, seen.topic_id) != seen.topic_id:
            raise TopicRecreated(
                f"{processor} version {version} reads another topic called {seen.topic!r}",
                topic=seen.topic,
                partition=seen.partition,
                served=seen.topic_id,
                reads=read[seen.topic],
                hint="the topic was deleted and created again, and offsets in the two cannot be"
                f" compared; if what came from the former one may go: {accept}",
            )
        if seen.topic not in read:
            raise SourceDropped(
                f"{processor} version {version} no longer reads topic {seen.topic!r}",
                processor=processor,
                version=version,
                topic=seen.topic,
                hint=f"if that is meant: {accept}",
            )
        if at is None or at.next_offset < seen.next_offset:
            raise NotCaughtUp(
                f"{processor} version {version} is behind what readers have seen",
                processor=processor,
                topic=seen.topic,
                partition=seen.partition,
                offset=None if at is None else at.next_offset,
                served=seen.next_offset,
                hint=f"kappa replay {processor} --version {version}",
            )
