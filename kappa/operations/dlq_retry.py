"""``kappa dlq retry``: copies of dead letters' records, each to the partition of its original."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from kappa.config import KafkaSettings, Settings, require_kafka
from kappa.errors import CompactedTopic, IllegalTransition, NotRetryable, TopicRecreated
from kappa.log.copies import HEADER, header_value
from kappa.log.history import topic_history
from kappa.log.publish import Placed, Producer
from kappa.operations.database import reading
from kappa.operations.dlq import find, place_of, version_of
from kappa.tables import letters, progress
from kappa.tables.letters import Choice, Letter
from kappa.versions.lifecycle import State


@dataclass(frozen=True)
class RetriedLetters:
    """What was published.

    Attributes:
        copies: records published again.
        timers: open letters of timers, of which there are no copies.
    """

    processor: str
    version: int
    topics: tuple[str, ...]
    copies: int
    timers: int


def retry(
    settings: Settings,
    name: str,
    version: int | None,
    *,
    places: Sequence[str],
    error_class: str | None,
) -> RetriedLetters:
    """Publishes the records of letters again: of these places, else of all open letters.

    A version that has the original as an open letter takes the copy in its place; every other
    one counts it as filtered. So copies may be sent twice.

    Raises:
        UnknownLetter: there is none at a place that was named.
        NotRetryable: one that was named has no record to send, or needs no copy.
        IllegalTransition: the version is retired.
        TopicRecreated: the topic is not the one the letters are of.
        CompactedTopic: a copy would make compaction remove newer records.
        DeliveryFailed: the broker did not take them all; run again for the rest.
    """
    kafka = require_kafka(settings)
    with reading(settings) as connection:
        record = version_of(connection, name, version)
        number = record.version
        if record.state is State.RETIRED:
            raise IllegalTransition(
                f"{name} version {number} is retired: it would not read a copy",
                hint="its letters can be shown and exported",
            )
        topic_ids = _topic_ids(connection, kafka, name, number)
        choice = Choice(error_class=error_class, is_open=True)
        chosen = (
            iter(_named(connection, name, number, places))
            if places
            else letters.each(connection, name, number, choice)
        )
        sent = dict.fromkeys(topic_ids, 0)
        timers = 0
        with Producer(kafka) as producer:
            for letter in chosen:
                if letter.timer is not None:
                    timers += 1
                    continue
                producer.send_placed(letter.topic, [_copy(letter, topic_ids[letter.topic])])
                sent[letter.topic] += 1
    topics = tuple(sorted(topic for topic, count in sent.items() if count))
    return RetriedLetters(name, number, topics, sum(sent.values()), timers)


def _copy(letter: Letter, topic_id: str) -> Placed:
    origin = header_value(topic_id, letter.partition, letter.original)
    return Placed(letter.partition, letter.key, letter.value, ((HEADER, origin),))


def _topic_ids(
    connection: Connection, kafka: KafkaSettings, name: str, version: int
) -> dict[str, str]:
    """The ids of the topics that the version reads, if copies can be sent to them."""
    ids = {row.topic: row.topic_id for row in progress.read(connection, name, version)}
    for topic, topic_id in ids.items():
        history = topic_history(kafka, topic)
        if history.topic_id != topic_id:
            raise TopicRecreated(
                "the topic was deleted and created again since: its letters are of the old one",
                topic=topic,
                hint="export the letters; the new topic has its own history",
            )
        if history.compacted:
            raise CompactedTopic(
                "a copy would be the newest record of its key, and compaction would remove those"
                " that came after the original",
                topic=topic,
                hint="publish the key's present value instead",
            )
    return ids


def _named(connection: Connection, name: str, version: int, places: Sequence[str]) -> list[Letter]:
    """One letter for each original that was named, by itself or by a copy that failed."""
    named = [place_of(place) for place in places]
    found = find(connection, name, version, named)
    originals = {(letter.topic, letter.partition, letter.original) for letter in found}
    of_originals = {
        (letter.topic, letter.partition, letter.offset): letter
        for letter in letters.at(connection, name, version, sorted(originals))
        if letter.timer is None
    }
    chosen = {}
    for letter in found:
        if letter.timer is None:
            at = letter.topic, letter.partition, letter.original
            chosen[at] = of_originals[at]
    for topic, partition, offset in named:
        if not any(
            (letter.topic, letter.partition, letter.offset) == (topic, partition, offset)
            for letter in found
            if letter.timer is None
        ):
            raise NotRetryable(
                f"the letter at {topic}/{partition}/{offset} is of a timer, not of a record",
                hint="a timer fires again only in a replay: 'kappa replay' a repaired version",
            )
    for letter in chosen.values():
        _require_open(letter)
    return [chosen[at] for at in sorted(chosen)]


def _require_open(letter: Letter) -> None:
    if letter.dropped_at is not None:
        raise NotRetryable(
            f"the letter at {letter.place} was dropped: its bytes are gone",
            hint="publish the record anew, if it is still wanted",
        )
    if letter.retried_by is not None:
        raise NotRetryable(
            f"a copy of {letter.place} was applied already",
            copy=f"{letter.topic}/{letter.partition}/{letter.retried_by}",
            hint="there is nothing left to do",
        )
