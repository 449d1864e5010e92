"""History replayed once more: it gives the same rows, or the reader is told that it does not."""

from __future__ import annotations

import signal

import pytest
from psycopg.conninfo import make_conninfo
from sqlalchemy import text

from kappa.errors import (
    CompactedTopic,
    FingerprintChanged,
    HistoryTruncated,
    IllegalTransition,
    KappaError,
    NotRepeated,
    UnknownVersion,
)
from kappa.log.topics import list_topics
from kappa.operations.promote import promote
from kappa.operations.verify import Verified, require_repeated, verify
from kappa.registry.topic import value_subject
from kappa.runtime.replay import repeat
from kappa.tables import scratch
from kappa.tables.engine import connect
from tests.faults import Interrupted, Site, wait_until
from tests.integration.test_faults_truncation import delete_records
from tests.integration.test_side_outputs import declare
from tests.readings import LATEST, LINES, TOTALS, Unsent, good, readings

PUBLISHED = """
import polars as pl
from kappa import Count, Source, ToTopic, Tumbling, WindowedAggregate

processor = WindowedAggregate(
    name="{name}",
    version=1,
    source=Source("{topic}", event_time="at", out_of_orderness="20s"),
    key=["sensor"],
    window=Tumbling("1m"),
    aggregates={{"readings": Count()}},
    publish={{"main": ToTopic("{topic}_totals")}},
)
"""

MISMERGED = """
from kappa import Merged, Source, Tumbling, WindowedAggregate

processor = WindowedAggregate(
    name="{name}",
    version=1,
    source=Source("{topic}", event_time="at", out_of_orderness="20s"),
    key=["sensor"],
    window=Tumbling("1h"),
    aggregates={{"readings": Merged(["code"], partial=len, merge=max, finalize=float)}},
)
"""
"""Its parts are merged wrongly, so that a row depends on how many there are."""

TIMED = """
import time
import polars as pl
from kappa import KeyedProcessor, Source

class processor(KeyedProcessor):
    name, version = "{name}", 1
    source = Source("{topic}")
    key = "sensor"
    columns = ["code"]
    output = {{"sensor": pl.String(), "at": pl.Int64()}}

    def on_event(self, event, ctx):
        ctx.emit(sensor=ctx.key, at=time.time_ns())
"""
"""It looks at the clock."""


LOCKED = """
SELECT 1 FROM pg_locks JOIN pg_database ON database = pg_database.oid
WHERE locktype = 'advisory' AND datname = current_database()
"""


def published(site: Site, count: int = 150, **config: str) -> str:
    topic = site.topic(3, **config)
    send(site, topic, count)
    return topic


def send(site: Site, topic: str, count: int, seed: int = 5) -> None:
    schema_id = site.schema_id(topic)
    made = readings(count, seed=seed)
    site.publish(topic, [good(schema_id, number % 3, one) for number, one in enumerate(made)])


def verified(
    site: Site, name: str, workers: int | None = 1, batch_size: int | None = None
) -> Verified:
    return verify(
        site.settings,
        name,
        1,
        workers=workers,
        batch_size=batch_size,
        on_plan=lambda offsets: None,
        on_progress=lambda offsets: None,
    )


def schemas(site: Site) -> list[str]:
    found = site.query("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'kappa\\_scratch%'")
    return [row.nspname for row in found]


@pytest.mark.parametrize(("code", "workers"), [(TOTALS, 2), (LINES, 1)])
def test_a_version_that_was_built_and_caught_up_is_what_history_gives(
    site: Site, code: str, workers: int
) -> None:
    topic = published(site)
    name = site.processor(code, topic)
    site.replay(name)
    built = verified(site, name)
    assert built.as_built
    assert built.records == 150
    assert built.batch_size == 150 // repeat.LEAST_CHECKPOINTS
    send(site, topic, 80, seed=6)
    site.publish(topic, [Unsent(1, b"s1", b"no reading")])
    site.replay(name, 7)
    found = verified(site, name, workers=workers, batch_size=11)
    require_repeated(found)
    assert found.as_built is None
    assert found.records == 231
    assert all(part.rows == part.rows_again for part in found.parts)
    outputs = {part.output: part.rows for part in found.parts}
    assert outputs["main"] > 0
    assert outputs["dead_letters"] == 1
    if code is TOTALS:
        assert outputs["late"] > 0
    assert schemas(site) == []


def test_it_reads_by_other_numbers_than_the_build(site: Site) -> None:
    name = site.processor(TOTALS, published(site))
    site.replay(name, 150 // repeat.LEAST_CHECKPOINTS)
    site.query(
        "UPDATE kappa_version SET manifest = jsonb_set(manifest, '{last_run,workers}', '2')"
        " WHERE processor = :n RETURNING 1",
        n=name,
    )
    found = verified(site, name, workers=None)
    assert (found.workers, found.batch_size) == (1, 150 // repeat.LEAST_CHECKPOINTS // 2)
    assert found.as_built


@pytest.mark.parametrize("code", [MISMERGED, TIMED])
def test_a_processor_that_is_not_repeatable_is_found(site: Site, code: str) -> None:
    name = site.processor(code, published(site, 60))
    site.replay(name)
    found = verified(site, name)
    assert [part.output for part in found.parts if not part.equal] == ["main"]
    assert found.as_built, "nobody has touched its rows"
    with pytest.raises(NotRepeated, match="replayed again, has given"):
        require_repeated(found)


def test_it_stops_where_the_version_stands(site: Site) -> None:
    topic = published(site)
    name = site.processor(TOTALS, topic)
    site.replay(name)
    send(site, topic, 80, seed=6)
    found = verified(site, name)
    assert found.records == 150
    assert found.equal


@pytest.mark.parametrize(
    ("change", "output"),
    [
        ("UPDATE {name}__v1 SET readings = readings + 1 WHERE ctid = '(0,1)'", "main"),
        ("DELETE FROM {name}__v1 WHERE ctid = '(0,1)'", "main"),
        ("DELETE FROM {name}__v1__late WHERE ctid = '(0,1)'", "late"),
    ],
)
def test_a_row_that_was_changed_by_hand_is_found(site: Site, change: str, output: str) -> None:
    name = site.processor(TOTALS, published(site))
    site.replay(name)
    site.query(f"{change.format(name=name)} RETURNING 1")
    found = verified(site, name)
    assert [part.output for part in found.parts if not part.equal] == [output]
    assert found.as_built is (output != "main")
    with pytest.raises(NotRepeated, match="other rows"):
        require_repeated(found)


def test_side_outputs_are_replayed_too(site: Site) -> None:
    name = declare(site, published(site, 30), None, 1)
    site.replay(name)
    found = verified(site, name, batch_size=4)
    assert found.equal
    assert [part.output for part in found.parts] == ["main", "high", "dead_letters"]
    site.query(f"UPDATE {name}__v1__high SET value = 0 WHERE ctid = '(0,1)' RETURNING 1")
    assert [p.output for p in verified(site, name).parts if not p.equal] == ["high"]


def test_nothing_leaves_and_nothing_of_the_version_changes(site: Site) -> None:
    topic = published(site)
    name = site.processor(PUBLISHED, topic)
    site.replay(name)
    promote(site.settings, {name: 1})
    send(site, topic, 300, seed=6)
    site.replay(name)
    before = site.everything(name), _outside(site, topic, name)
    assert before[1][1] > 0
    assert verified(site, name).equal
    assert (site.everything(name), _outside(site, topic, name)) == before


def _outside(site: Site, topic: str, name: str) -> tuple[list[str], int, int]:
    """The topics there are, how much waits to leave, and the last schema of the output."""
    topics = [one.topic for one in list_topics(site.kafka) if one.topic.startswith(topic)]
    found = site.query("SELECT count(*) FROM kappa_dirty_key WHERE processor = :n", n=name)
    schema = site.registry.latest(value_subject(f"{topic}_totals"))
    return topics, int(found[0][0]), schema.schema_id


def test_the_schema_is_dropped_when_the_replay_fails(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = site.processor(TOTALS, published(site))
    site.replay(name)

    def stop(offsets: int) -> None:
        assert len(schemas(site)) == 1
        raise Interrupted

    with pytest.raises(Interrupted):
        verify(
            site.settings,
            name,
            1,
            workers=1,
            batch_size=20,
            on_plan=lambda offsets: None,
            on_progress=stop,
        )
    assert schemas(site) == []


def test_what_a_killed_one_has_left_is_dropped_and_what_is_in_use_stays(site: Site) -> None:
    name = site.processor(TOTALS, published(site))
    site.replay(name)
    before = site.everything(name)
    halves = ("--version", "1", "--workers", "1", "--batch-size", "20")
    killed = site.kappa("verify", name, *halves, failpoint="committed@3")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (left,) = schemas(site)
    assert site.query(f"SELECT sum(records) FROM {left}.kappa_offset")[0][0] in range(3, 100)
    wait_until("the end of its sessions", lambda: not site.query(LOCKED))
    url = make_conninfo(site.settings.postgres.url.get_secret_value())
    with scratch.scratch(url) as used:
        assert left not in schemas(site)
        assert verified(site, name).equal
        engine = connect(used)
        with engine.connect() as connection:
            there = text("SELECT to_regclass('kappa_version')::text, current_schema()")
            table, schema = connection.execute(there).one()
        engine.dispose()
        assert (table, schemas(site)) == ("kappa_version", [schema])
    assert schemas(site) == []
    assert site.everything(name) == before


@pytest.mark.parametrize(
    ("spoil", "refusal"),
    [
        ("fingerprint = 'x'", FingerprintChanged),
        ("state = 'failed'", IllegalTransition),
    ],
)
def test_only_a_built_version_of_the_installed_code_is_verified(
    site: Site, spoil: str, refusal: type[KappaError]
) -> None:
    name = site.processor(TOTALS, published(site, 9))
    with pytest.raises(UnknownVersion):
        verified(site, name)
    site.replay(name)
    site.query(f"UPDATE kappa_version SET {spoil} WHERE processor = :n RETURNING 1", n=name)
    with pytest.raises(refusal):
        verified(site, name)


def test_what_is_no_longer_all_there_is_refused(site: Site) -> None:
    topic = published(site, 30)
    name = site.processor(LINES, topic)
    site.replay(name)
    delete_records(site.kafka, topic, 1, 2)
    with pytest.raises(HistoryTruncated, match="was made of are gone"):
        verified(site, name)
    compacted = published(site, 9, cleanup_policy="compact")
    name = site.processor(LATEST, compacted)
    site.replay(name)
    with pytest.raises(CompactedTopic):
        verified(site, name)
