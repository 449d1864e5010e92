"""Values that cannot be read, computed or stored: each one a dead letter, the rest right."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from kappa.avro.wire import header
from tests.conftest import Finished
from tests.faults import BATCH_SIZES, Site
from tests.readings import (
    DAY_MS,
    LATEST,
    LINES,
    START_MS,
    TOTALS,
    Reading,
    Sent,
    Unsent,
    encoded,
    expected_totals,
    good,
    readings,
    tombstone,
)

PARTITIONS = 3
COUNT = 120
QUIET = 13
"""The code that LINES leaves out."""

FINE = Reading("s1", 5, 1.5, START_MS + 60_000)

TO_ALL = {
    "a far future": (replace(FINE, at=START_MS + 10**5 * DAY_MS), "Refused", "ahead"),
    "a year before the first": (replace(FINE, at=-(10**14)), "Refused", "years"),
    "NUL in text": (replace(FINE, sensor="s\0\0"), "Refused", "NUL"),
    "a code beyond Int8": (replace(FINE, code=300), "InvalidOperationError", "conversion"),
    "a code beyond it below": (replace(FINE, code=-(2**63)), "InvalidOperationError", "conversion"),
}
"""Readings that are dead letters to both processors, with the error's class and a word of it."""

TO_TOTALS = {
    "too large to sum": (replace(FINE, value=-1e300), "Refused", "too large"),
    "a key too long to index": (replace(FINE, sensor="long" * 700), "Refused", "too long"),
}


@dataclass(frozen=True)
class Mixed:
    """What was published, and of the poison: why it is refused, by its place."""

    topic: str
    sent: list[Sent]
    everywhere: dict[tuple[int, int], tuple[str, str]]
    in_totals: dict[tuple[int, int], tuple[str, str]]


def undecodable(schema_id: int) -> list[tuple[bytes, str, str]]:
    """Values with their error's class and a word of its message."""
    dice = random.Random(10)
    whole, front = encoded(schema_id, FINE), header(schema_id)
    body = whole[len(front) :]
    made = [
        (b"", "Truncated", "magic"),
        (front[:3], "Truncated", "magic"),
        (front, "Truncated", "sensor"),
        (b"\1" + whole[1:], "BadMagic", "first byte is 1"),
        (b'{"sensor":"s1"}', "BadMagic", "123"),
        (whole + b"!", "TrailingBytes", "1 bytes follow"),
        (whole + whole, "TrailingBytes", "follow"),
        (front + b"\4\xc3\x28" + body[3:], "BadText", "sensor"),
        (front + b"\4\xed\xa0" + body[3:], "BadText", "sensor"),
        (front + b"\1" + body, "BadLength", "sensor"),
        (front + b"\xff" * 11, "BadNumber", "sensor"),
        (front + b"\xfe\xff\xff\xff\x0f", "Truncated", "announced"),
    ]
    made += [(whole[:cut], "Truncated", "") for cut in range(len(front) + 1, len(whole), 3)]
    made += [(b"\xff" + dice.randbytes(size), "BadMagic", "255") for size in (0, 9, 5000)]
    return made


@pytest.fixture(scope="module")
def mixed(site: Site) -> Mixed:
    topic = site.topic(PARTITIONS)
    schema_id = site.schema_id(topic)
    dice = random.Random(3)
    reasons: dict[Unsent, tuple[str, str]] = {}
    only_totals: set[Unsent] = set()
    for value, error_class, word in undecodable(schema_id):
        key = dice.choice([None, b"", b"\xff\0key", b"s1"])
        reasons[Unsent(dice.randrange(PARTITIONS), key, value)] = (error_class, word)
    for reading, error_class, word in (*TO_ALL.values(), *TO_TOTALS.values()):
        record = good(schema_id, dice.randrange(PARTITIONS), reading)
        reasons[record] = (error_class, word)
        only_totals |= {record} if (reading, error_class, word) in TO_TOTALS.values() else set()
    records = [*reasons, *(tombstone(p, "s1") for p in range(PARTITIONS))]
    dice.shuffle(records)
    for number, reading in enumerate(readings(COUNT, seed=4)):
        chosen = replace(reading, code=QUIET) if number % 10 == 0 else reading
        records.insert(number * 2, good(schema_id, dice.randrange(PARTITIONS), chosen))
    sent = site.publish(topic, records)
    found = {(one.partition, one.offset): Unsent(*_of(one)) for one in sent}
    in_totals = {at: reasons[one] for at, one in found.items() if one in reasons}
    everywhere = {at: why for at, why in in_totals.items() if found[at] not in only_totals}
    return Mixed(topic, sent, everywhere, in_totals)


def _of(one: Sent) -> tuple[int, bytes | None, bytes | None, Reading | None]:
    return one.partition, one.key, one.value, one.reading


def check_letters(
    site: Site, name: str, mixed: Mixed, expected: dict[tuple[int, int], tuple[str, str]]
) -> None:
    """A letter for each poisoned record and no other, with all there was of it."""
    letters = site.letters(name)
    assert letters.keys() == expected.keys()
    sent = {(one.partition, one.offset): one for one in mixed.sent}
    for at, (error_class, word) in expected.items():
        letter, one = letters[at], sent[at]
        assert (letter.topic, letter.key, letter.value) == (mixed.topic, one.key, one.value)
        assert letter.timestamp == one.timestamp
        assert letter.error_class == error_class, (letter.message, one)
        assert word in letter.message, (letter.message, one)
        assert letter.message


def check_accounts(site: Site, name: str, mixed: Mixed, applied: int) -> None:
    """Every offset is applied, late, dead or filtered; the last record is behind us."""
    rows = site.partitions(name)
    for number, row in rows.items():
        published = sum(one.partition == number for one in mixed.sent)
        assert (row.next_offset, row.records) == (published, published)
        assert row.dead == sum(partition == number for partition, _ in site.letters(name))
    counted = sum(row.late + row.dead + row.filtered for row in rows.values())
    assert applied + counted == len(mixed.sent) == sum(row.next_offset for row in rows.values())


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_an_aggregate_of_the_rest_is_right(site: Site, mixed: Mixed, batch_size: int) -> None:
    name = site.processor(TOTALS, mixed.topic)
    done = site.replay(name, batch_size)
    assert (done.state, done.records) == ("ready", len(mixed.sent))

    living = [one for one in mixed.sent if (one.partition, one.offset) not in mixed.in_totals]
    rows, expected = expected_totals(living)
    assert not expected.dead
    assert site.totals(name) == rows
    assert site.late(name) == expected.late
    assert len(rows) > 10
    assert expected.late
    check_letters(site, name, mixed, mixed.in_totals)
    check_accounts(site, name, mixed, sum(row[0] for row in rows.values()))
    assert done.dead == len(mixed.in_totals)
    assert done.filtered == PARTITIONS  # tombstones


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_a_projection_of_the_rest_is_right(site: Site, mixed: Mixed, batch_size: int) -> None:
    name = site.processor(LINES, mixed.topic)
    site.replay(name, batch_size)

    living = [
        one
        for one in mixed.sent
        if one.reading and (one.partition, one.offset) not in mixed.everywhere
    ]
    expected = {
        (one.partition, one.offset): (one.reading.sensor, one.reading.code, one.reading.value)
        for one in living
        if one.reading and one.reading.code != QUIET
    }
    found = site.query(f"SELECT _partition, _offset, sensor, code, value FROM {name}__v1")
    assert {(row[0], row[1]): tuple(row[2:]) for row in found} == expected
    check_letters(site, name, mixed, mixed.everywhere)
    check_accounts(site, name, mixed, len(expected))
    filtered = sum(row.filtered for row in site.partitions(name).values())
    assert filtered == len(living) - len(expected) + PARTITIONS
    assert len(living) > len(expected)


def test_the_command_counts_the_dead_letters_of_two_workers(
    site: Site, mixed: Mixed, kappa: Callable[..., Finished]
) -> None:
    name = site.processor(TOTALS, mixed.topic)
    done = kappa("replay", name, "--workers", "2", "--json", env=site.environment)
    assert done.code == 0, done.err
    assert (done.json["records"], done.json["dead"]) == (len(mixed.sent), len(mixed.in_totals))
    check_letters(site, name, mixed, mixed.in_totals)


def test_a_topic_of_nothing_but_poison(site: Site) -> None:
    topic = site.topic(1)
    site.publish(topic, [Unsent(0, None, b"\xffnothing")] * 50)
    name = site.processor(TOTALS, topic)
    done = site.replay(name, 7)
    assert (done.state, done.records, done.dead, done.rows) == ("ready", 50, 50, 0)
    assert site.positions(name) == {0: 50}
    assert len(site.letters(name)) == 50


def foreign(schema_id: int) -> list[tuple[Unsent, str, str]]:
    """What a table of the latest row per key cannot take: its error's class and a word of it."""
    value = encoded(schema_id, FINE)
    return [
        (Unsent(0, b"s2", value), "Refused", "record key"),
        (Unsent(0, None, value), "Refused", "record key"),
        (Unsent(0, b"s2", value[:-1]), "Truncated", "at"),
        (good(schema_id, 0, replace(FINE, sensor="s\0")), "Refused", "NUL"),
        (good(schema_id, 0, replace(FINE, sensor="long" * 700)), "Refused", "too long"),
        (Unsent(0, b"\xff\xfe", None), "Refused", "tombstone"),
        (Unsent(0, None, None), "Refused", "tombstone"),
        (tombstone(0, "s\0"), "Refused", "NUL"),
    ]


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_the_latest_row_per_key_of_the_rest_is_right(site: Site, batch_size: int) -> None:
    topic = site.topic(1)
    schema_id = site.schema_id(topic)
    name = site.processor(LATEST, topic)
    dead: dict[int, tuple[str, str]] = {}
    truth: dict[str, tuple[int, float]] = {}
    for round_ in range(3):  # the first is a build, the others merge into its rows
        for number, (record, error_class, word) in enumerate(foreign(schema_id)):
            update = replace(FINE, sensor=f"s{number % 5}", code=100 * round_ + number)
            one, _ = site.publish(topic, [record, good(schema_id, 0, update)])
            truth[update.sensor] = (update.code, update.value)
            dead[one.offset] = (error_class, word)
        site.publish(topic, [tombstone(0, f"s{round_}")])
        del truth[f"s{round_}"]
        site.replay(name, batch_size)
        assert site.latest(name) == truth

        letters = site.letters(name)
        assert sorted(at for _, at in letters) == sorted(dead)
        for offset, (error_class, word) in dead.items():
            letter = letters[0, offset]
            assert (letter.error_class, word in letter.message) == (error_class, True), letter
        (row,) = site.partitions(name).values()
        end = site.ends(topic)[0]
        assert (row.next_offset, row.records, row.dead) == (end, end, len(dead))
