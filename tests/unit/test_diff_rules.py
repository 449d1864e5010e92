"""Comparing versions, as far as it needs no server: shares, buckets, offsets, which versions."""

from __future__ import annotations

import pytest

from kappa.errors import ConfigError, SourceDropped, TopicRecreated, UnknownVersion
from kappa.operations.amounts import percent, seconds_of, share_of
from kappa.operations.diff import chosen
from kappa.tables.differences import Differences, buckets_for
from kappa.versions.caught_up import Position
from kappa.versions.holding import same_offsets


@pytest.mark.parametrize(
    ("text", "share"),
    [("0.1%", 0.001), ("0%", 0.0), ("100%", 1.0), ("0.25", 0.25), (" 5% ", 0.05), (".5%", 0.005)],
)
def test_a_share_is_read_as_percent_or_as_a_part_of_one(text: str, share: float) -> None:
    assert share_of(text) == share


@pytest.mark.parametrize("text", ["", "%", "-1%", "101%", "1.5", "much", "1 %", "nan", "1e-3"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no share"):
        share_of(text)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0%"),
        (1.0, "100%"),
        (0.001, "0.100%"),
        (1e-7, "1.0e-05%"),
        (0.9999999, "99.999%"),
        (0.25, "25.000%"),
    ],
)
def test_only_nothing_is_shown_as_zero_and_only_all_as_a_hundred(share: float, text: str) -> None:
    assert percent(share) == text


def test_a_timeout_is_a_duration() -> None:
    assert seconds_of("1m30s") == 90.0
    with pytest.raises(ConfigError, match="not a duration"):
        seconds_of("soon")


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 1_000, 1_000_000, 10**12])
def test_buckets_are_a_power_of_two_that_grows_with_the_rows(rows: int) -> None:
    buckets = buckets_for(rows)
    assert buckets & (buckets - 1) == 0
    assert 1 <= buckets <= 1 << 16
    assert buckets == 1 << 16 or rows / buckets <= 64


def test_the_rate_is_of_all_keys_that_either_version_has() -> None:
    found = Differences(10, 12, 1, 2, 4, {}, ())
    assert found.matched == 8
    assert found.rate == 7 / 14
    assert Differences(0, 0, 0, 0, 0, {}, ()).rate == 0.0


def at(partition: int, offset: int, topic: str = "t", topic_id: str = "id") -> Position:
    return Position(topic, partition, topic_id, offset)


def test_versions_meet_at_the_greater_offset_of_each_partition() -> None:
    one, two = (at(0, 5), at(1, 9)), (at(0, 7), at(1, 3), at(2, 4))
    assert same_offsets("p", (1, 2), one, two) == (at(0, 7), at(1, 9), at(2, 4))
    assert same_offsets("p", (2, 1), two, one) == (at(0, 7), at(1, 9), at(2, 4))


def test_versions_of_other_topics_have_no_offsets_in_common() -> None:
    with pytest.raises(SourceDropped, match="only 2 reads topic 'u'"):
        same_offsets("p", (1, 2), (at(0, 1),), (at(0, 1), at(0, 1, "u")))
    with pytest.raises(TopicRecreated):
        same_offsets("p", (1, 2), (at(0, 1),), (at(0, 1, topic_id="other"),))


def test_the_serving_version_is_compared_with_the_highest_other_one() -> None:
    assert chosen("p", [1, 2, 3], 1, None, None) == (1, 3)
    assert chosen("p", [1, 2, 3], 3, None, None) == (3, 2)
    assert chosen("p", [1, 2, 3], None, 2, 1) == (2, 1)
    with pytest.raises(UnknownVersion, match="serves"):
        chosen("p", [1, 2], None, None, 2)
    with pytest.raises(UnknownVersion, match="no other version"):
        chosen("p", [1], 1, None, None)
