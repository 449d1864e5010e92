"""A processor stops at its limit of dead letters, at the same letter however it is run."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from kappa.errors import TooManyDeadLetters
from kappa.operations.replay import DEFAULT_BATCH_SIZE
from kappa.operations.status import status
from kappa.tables import letters
from kappa.tables.letters import Choice
from tests.faults import Interrupted, Site, wait_until
from tests.live.running import Run
from tests.readings import START_MS, Reading, Unsent, good

LIMITED = """
from kappa import DeadLetterLimit, Projection, Source

processor = Projection(
    name="{{name}}",
    version=1,
    source=Source("{{topic}}", event_time="at"),
    columns=["sensor", "code"],
    max_dead_letters=DeadLetterLimit({limit}),
)
"""

POISON = Unsent(0, b"k", b"\xffpoison")


def limited(limit: str) -> str:
    return LIMITED.format(limit=limit)


def fine(schema_id: int, partition: int, count: int) -> list[Unsent]:
    reading = Reading("s1", 1, 1.0, START_MS)
    return [good(schema_id, partition, reading)] * count


def stopped(site: Site, name: str, batch_size: int, workers: int = 1) -> TooManyDeadLetters:
    with pytest.raises(TooManyDeadLetters) as caught:
        site.replay(name, batch_size, workers=workers)
    assert caught.value.exit_code == 4
    return caught.value


def open_letters(site: Site, name: str) -> int:
    return len(site.letters(name))


@pytest.fixture(scope="module")
def few_among_many(site: Site) -> str:
    """Thirty letters at the even offsets from 100 on."""
    topic = site.topic(1)
    schema_id = site.schema_id(topic)
    pairs = [record for _ in range(30) for record in (POISON, *fine(schema_id, 0, 1))]
    site.publish(topic, [*fine(schema_id, 0, 100), *pairs])
    return topic


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_what_lies_before_one_too_many_is_in_the_table(
    site: Site, few_among_many: str, batch_size: int
) -> None:
    name = site.processor(limited("count=12, rate=None"), few_among_many)
    error = stopped(site, name, batch_size)
    assert error.detail["topic"] == few_among_many
    assert error.detail["partition"] == 0
    assert open_letters(site, name) == 12
    assert site.positions(name) == {0: 124}  # the thirteenth letter lies there
    assert site.query(f"SELECT count(*) FROM {name}__v1") == [(124 - 12,)]
    again = stopped(site, name, batch_size)  # it does not creep on
    assert (again.detail, site.positions(name)) == (error.detail, {0: 124})


def test_as_many_as_allowed_are_no_reason_to_stop(site: Site, few_among_many: str) -> None:
    name = site.processor(limited("count=30, rate=None"), few_among_many)
    assert site.replay(name, 7).dead == 30
    name = site.processor(limited("count=0, rate=None"), site.topic(1))
    assert site.replay(name).dead == 0


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_the_rate_stops_it_at_the_same_letter(
    site: Site, few_among_many: str, batch_size: int
) -> None:
    """Among 140 records are more than a seventh letters from the 21st on, at offset 140."""
    name = site.processor(limited("rate=0.14, rate_from=10"), few_among_many)
    error = stopped(site, name, batch_size)
    located = {key: error.detail[key] for key in ("offset", "letters", "records", "rate_limit")}
    letters_at = next(n for n in range(11, 31) if n > 0.14 * (100 + 2 * n - 1))
    offset = 100 + 2 * (letters_at - 1)
    assert located == {
        "offset": offset,
        "letters": letters_at,
        "records": offset + 1,
        "rate_limit": 0.14,
    }
    assert site.positions(name) == {0: offset}
    assert open_letters(site, name) == letters_at - 1


def test_a_restart_stops_at_the_same_letter(site: Site, few_among_many: str) -> None:
    name = site.processor(limited("rate=0.14, rate_from=10"), few_among_many)
    with pytest.raises(Interrupted):
        site.replay(name, 5, stop_after=115)
    assert site.positions(name)[0] > 100
    assert stopped(site, name, 1000).detail["letters"] > 15
    before = stopped(site, name, 1000).detail
    assert before == stopped(site, name, 3).detail


def test_two_workers_share_one_count(site: Site) -> None:
    """Neither has more than the limit; both together do."""
    topic = site.topic(2)
    poison = [Unsent(at, b"k", b"\xffpoison") for at in (0, 1) for _ in range(8)]
    site.publish(topic, poison)
    name = site.processor(limited("count=10, rate=None"), topic)
    stopped(site, name, 1000, workers=2)
    assert open_letters(site, name) == 10


def test_a_run_that_ends_at_the_limit_leaves_its_error_in_status(
    site: Site, tmp_path: Path
) -> None:
    topic = site.topic(1)
    name = site.processor(limited("count=2, rate=None"), topic)
    site.replay(name)
    site.publish(topic, [POISON] * 3)

    def failure() -> str | None:
        (version,) = status(site.settings, [name])
        return version.failure and version.failure.error

    ended = site.kappa("run", name, "--max-batch", "1")
    assert (ended.returncode, failure()) == (4, "TooManyDeadLetters"), ended.stderr
    with site.engine.begin() as connection:
        assert letters.drop(connection, name, 1, Choice()) == 2
        old = "UPDATE kappa_worker SET seen_at = now() - interval '1 h' WHERE processor = :p"
        connection.execute(sa.text(old), {"p": name})
    assert failure() == "TooManyDeadLetters", "nobody has followed it since"
    with Run(site.environment, tmp_path / "run.log", name):
        wait_until("it is followed well", lambda: failure() is None)


@pytest.mark.parametrize("batch_size", [1, DEFAULT_BATCH_SIZE])
def test_letters_that_are_dropped_make_room(
    site: Site, few_among_many: str, batch_size: int
) -> None:
    name = site.processor(limited("count=20, rate=None"), few_among_many)
    stopped(site, name, batch_size)
    with site.engine.begin() as connection:
        assert letters.drop(connection, name, 1, Choice()) == 20
    assert site.replay(name, batch_size).dead == 10
    assert open_letters(site, name) == 30  # a dropped one keeps its place
    (one, *_) = site.query("SELECT key, value, dropped_at IS NOT NULL, error_class"
                           " FROM kappa_dead_letter WHERE processor = :name"
                           ' ORDER BY "offset"', name=name)  # fmt: skip
    assert tuple(one) == (None, None, True, "BadMagic")


FAILING_TIMERS = """
from kappa import DeadLetterLimit, KeyedProcessor, Source
import polars as pl

class Processor(KeyedProcessor):
    name, version = "{name}", 1
    source = Source("{topic}", event_time="at")
    key = "sensor"
    output = {{"sensor": pl.String()}}
    max_dead_letters = DeadLetterLimit(count=3, rate=None)

    def on_event(self, event, ctx):
        ctx.set_event_timer(ctx.event_time)

    def on_timer(self, at, ctx):
        raise ValueError("no")

processor = Processor()
"""


def test_timers_that_fail_count_too(site: Site) -> None:
    topic = site.topic(1)
    site.publish(topic, fine(site.schema_id(topic), 0, 5))
    name = site.processor(FAILING_TIMERS, topic)
    stopped(site, name, 1)
    assert site.positions(name) == {0: 3}
    found = site.query("SELECT count(timer), count(*) FROM kappa_dead_letter"
                       " WHERE processor = :name", name=name)  # fmt: skip
    assert found == [(3, 3)]
