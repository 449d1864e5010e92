"""History that is no longer whole, or no longer the same: refused by name, no row changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import TopicPartition

from kappa.config import KafkaSettings
from kappa.errors import (
    HistoryTruncated,
    KappaError,
    OffsetOutOfRange,
    TopicRecreated,
    UnknownTopic,
)
from kappa.log.history import topic_history
from tests.faults import Interrupted, Site, wait_until
from tests.integration.kafka_scenes import admin
from tests.readings import TOTALS, Sent, Unsent, expected_totals, good, readings

PARTITIONS = 2
COUNT = 60


@pytest.fixture
def topic(site: Site) -> str:
    return site.topic(PARTITIONS)


def records(site: Site, topic: str, seed: int = 1) -> list[Unsent]:
    schema_id = site.schema_id(topic)
    return [
        good(schema_id, number % PARTITIONS, reading)
        for number, reading in enumerate(readings(COUNT, seed=seed))
    ]


@pytest.fixture
def sent(site: Site, topic: str) -> list[Sent]:
    return site.publish(topic, records(site, topic))


def delete_records(kafka: KafkaSettings, topic: str, partition: int, before: int) -> None:
    place = TopicPartition(topic, partition, before)
    client = admin(kafka)
    client.delete_records([place])[place].result(20)


def delete_topic(kafka: KafkaSettings, topic: str) -> None:
    client = admin(kafka)
    client.delete_topics([topic])[topic].result(20)

    def gone() -> bool:
        try:
            topic_history(kafka, topic)
        except UnknownTopic:
            return True
        return False

    wait_until("the topic's end", gone)


def recreate(site: Site, topic: str) -> None:
    """The same name, the same partitions, another topic."""
    delete_topic(site.kafka, topic)
    site.create(topic, PARTITIONS)


def refused(
    site: Site, name: str, error: type[KappaError], *, allow_truncated: bool = False
) -> KappaError:
    """The replay is refused by this error, twice, and changes nothing; returns the error."""
    before = site.everything(name)
    for _ in range(2):
        with pytest.raises(error) as caught:
            site.replay(name, allow_truncated=allow_truncated)
        assert type(caught.value) is error
        assert caught.value.hint
        assert site.everything(name) == before
    return caught.value


def halfway(site: Site, topic: str) -> str:
    """A version whose build was cut short after a few records."""
    name = site.processor(TOTALS, topic)
    with pytest.raises(Interrupted):
        site.replay(name, 5, stop_after=10)
    state, _, partitions, _ = site.everything(name)
    assert state == [("building",)]
    assert 0 < sum(row.next_offset for row in partitions.values()) < COUNT  # type: ignore[attr-defined]
    return name


def built(site: Site, topic: str) -> str:
    name = site.processor(TOTALS, topic)
    assert site.replay(name).state == "ready"
    return name


def check_totals(site: Site, name: str, sent: list[Sent]) -> None:
    rows, expected = expected_totals(sent)
    assert (site.totals(name), site.late(name)) == (rows, expected.late)


def test_a_truncated_topic_is_no_start_unless_that_is_allowed(
    site: Site, topic: str, sent: list[Sent]
) -> None:
    delete_records(site.kafka, topic, 1, 7)
    name = site.processor(TOTALS, topic)
    error = refused(site, name, HistoryTruncated)
    assert error.detail == {"topic": topic, "partition": 1, "log_start": 7}
    assert site.everything(name) == ([], [], {}, [])

    done = site.replay(name, allow_truncated=True)
    assert done.records == len(sent) - 7
    check_totals(site, name, [one for one in sent if one.partition == 0 or one.offset >= 7])
    overrides = site.query("SELECT overrides FROM kappa_version WHERE processor = :n", n=name)
    assert overrides == [([f"{topic}/1 begins at offset 7"],)]
    assert site.replay(name).records == 0  # what was allowed once stays so


def test_a_build_cannot_go_on_behind_records_that_are_gone(
    site: Site, topic: str, sent: list[Sent]
) -> None:
    name = halfway(site, topic)
    position = site.positions(name)[0]
    delete_records(site.kafka, topic, 0, position + 1)
    error = refused(site, name, HistoryTruncated)
    assert error.detail["partition"] == 0
    refused(site, name, HistoryTruncated, allow_truncated=True)


def test_a_built_version_cannot_go_on_behind_records_that_are_gone(
    site: Site, topic: str, sent: list[Sent]
) -> None:
    name = built(site, topic)
    position = site.positions(name)[1]
    site.publish(topic, records(site, topic, seed=2))
    delete_records(site.kafka, topic, 1, position + 2)
    refused(site, name, HistoryTruncated)
    error = refused(site, name, HistoryTruncated, allow_truncated=True)
    assert error.detail == {
        "topic": topic,
        "partition": 1,
        "offset": position,
        "log_start": position + 2,
    }


def test_a_reader_that_deletion_overtakes_stops(site: Site, topic: str, sent: list[Sent]) -> None:
    name = site.processor(TOTALS, topic)

    def delete() -> None:
        for partition in range(PARTITIONS):
            delete_records(site.kafka, topic, partition, 9)

    with pytest.raises(OffsetOutOfRange) as caught:
        site.replay(name, once_planned=delete)
    assert caught.value.detail["topic"] == topic
    assert (caught.value.detail["offset"], caught.value.detail["log_start"]) == (0, 9)
    assert site.positions(name) == {0: 0, 1: 0}
    assert site.totals(name) == {}
    refused(site, name, HistoryTruncated)


def test_a_position_past_the_end_of_the_log(site: Site, topic: str, sent: list[Sent]) -> None:
    name = built(site, topic)
    end = site.positions(name)[0]
    # As after an unclean election: the topic is the same, its last records are not there.
    site.query(
        "UPDATE kappa_offset SET next_offset = next_offset + 3"
        " WHERE processor = :name AND partition = 0 RETURNING 1",
        name=name,
    )
    error = refused(site, name, OffsetOutOfRange)
    assert error.detail == {"topic": topic, "partition": 0, "offset": end + 3, "log_end": end}
    refused(site, name, OffsetOutOfRange, allow_truncated=True)


def test_a_build_whose_captured_end_the_log_has_lost(
    site: Site, topic: str, sent: list[Sent]
) -> None:
    """It would wait for records that do not come, or take others for them."""
    name = site.processor(TOTALS, topic)
    with pytest.raises(Interrupted):
        site.replay(name, 7, stop_after=7)
    (row,) = site.query(
        "UPDATE kappa_offset SET target_offset = target_offset + 3"
        " WHERE processor = :name AND partition = 0 RETURNING target_offset",
        name=name,
    )
    error = refused(site, name, OffsetOutOfRange)
    assert error.detail["offset"] == row.target_offset
    assert error.detail["log_end"] == row.target_offset - 3


@pytest.mark.parametrize("again", [0, COUNT // 2, COUNT, 2 * COUNT])
def test_a_topic_created_again_is_another_one(
    site: Site, topic: str, sent: list[Sent], again: int
) -> None:
    """Shorter, as long with the very same records, or longer."""
    name = built(site, topic)
    recreate(site, topic)
    site.publish(topic, (records(site, topic) * 2)[:again])
    error = refused(site, name, TopicRecreated)
    assert error.detail["topic"] == topic
    refused(site, name, TopicRecreated, allow_truncated=True)
    check_totals(site, name, sent)


def test_a_topic_created_again_while_its_version_is_built(
    site: Site, topic: str, sent: list[Sent]
) -> None:
    name = halfway(site, topic)
    recreate(site, topic)
    site.publish(topic, records(site, topic))
    refused(site, name, TopicRecreated)


@pytest.mark.parametrize("state", [halfway, built])
def test_a_topic_created_again_between_the_plan_and_the_reading(
    site: Site, topic: str, sent: list[Sent], state: Callable[[Site, str], str]
) -> None:
    name = state(site, topic)
    site.publish(topic, records(site, topic, seed=2))
    before = site.everything(name)

    def swap() -> None:
        recreate(site, topic)
        site.publish(topic, records(site, topic) * 3)

    with pytest.raises(TopicRecreated):
        site.replay(name, once_planned=swap)
    now, *after = site.everything(name)
    assert after == list(before[1:])
    assert now == [("failed",)] if state is halfway else before[0]


def test_a_topic_created_again_where_nothing_was_left_to_read(
    site: Site, topic: str, sent: list[Sent]
) -> None:
    name = built(site, topic)
    before = site.everything(name)
    with pytest.raises(TopicRecreated):
        site.replay(name, once_planned=lambda: recreate(site, topic))
    assert site.everything(name) == before


def test_a_deleted_topic(site: Site, topic: str, sent: list[Sent]) -> None:
    name = built(site, topic)
    delete_topic(site.kafka, topic)
    error = refused(site, name, UnknownTopic)
    assert error.detail["topic"] == topic
    check_totals(site, name, sent)


def test_what_a_version_has_read_may_go(site: Site, topic: str, sent: list[Sent]) -> None:
    name = built(site, topic)
    for partition, position in site.positions(name).items():
        delete_records(site.kafka, topic, partition, position)
    assert site.replay(name).records == 0
    more = site.publish(topic, records(site, topic, seed=3))
    assert site.replay(name).records == len(more)
    check_totals(site, name, [*sent, *more])
