"""Rows of workers: reported, kept up to date, and gone when nobody has reported for long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from kappa.tables import workers
from kappa.tables.engine import set_lock_timeout
from kappa.tables.workers import Seen, WorkerRow
from tests.integration.tables_scenes import declare, items

ERROR = {"class": "DatabaseUnavailable", "message": "gone", "detail": {"server": "db"}, "hint": ""}


@pytest.fixture
def row(engine: Engine, unique: Callable[[str], str]) -> WorkerRow:
    layout = items(unique("worked"))
    with engine.begin() as conn:
        declare(conn, layout)
    return WorkerRow(uuid4(), layout.processor, 1, "host:1", "running", datetime.now(UTC))


def report(engine: Engine, row: WorkerRow) -> None:
    with engine.begin() as conn:
        workers.report(conn, row)


def seen(engine: Engine, row: WorkerRow) -> tuple[Seen, ...]:
    with engine.begin() as conn:
        return workers.read(conn, row.processor, row.version)


def age(engine: Engine, worker_id: UUID, seconds: int) -> None:
    with engine.begin() as conn:
        conn.execute(
            text("UPDATE kappa_worker SET seen_at = now() - :age * interval '1 s' WHERE id = :id"),
            {"age": seconds, "id": worker_id},
        )


def test_the_last_report_is_what_is_read(engine: Engine, row: WorkerRow) -> None:
    report(engine, row)
    later = replace(
        row, state="waiting", bottleneck="source", records_per_second=12.5, resident_bytes=2**40
    )
    report(engine, later)
    (found,) = seen(engine, row)
    assert found.row == later
    assert found.last_error_at is None
    assert seen(engine, replace(row, version=2)) == ()


def test_an_error_keeps_its_time_until_another_comes(engine: Engine, row: WorkerRow) -> None:
    report(engine, replace(row, last_error=ERROR))
    (first,) = seen(engine, row)
    report(engine, replace(row, last_error=ERROR))
    (second,) = seen(engine, row)
    assert first.row.last_error == ERROR
    assert first.last_error_at is not None
    assert second.last_error_at == first.last_error_at
    assert second.seen_at > first.seen_at
    report(engine, replace(row, last_error={**ERROR, "message": "another"}))
    (third,) = seen(engine, row)
    assert third.last_error_at is not None
    assert third.last_error_at > first.last_error_at
    report(engine, row)
    (healed,) = seen(engine, row)
    assert (healed.row.last_error, healed.last_error_at) == (None, None)


def test_who_has_not_reported_for_long_is_gone_and_removed(engine: Engine, row: WorkerRow) -> None:
    silent = replace(row, id=uuid4(), owner="host:2")
    report(engine, silent)
    age(engine, silent.id, 29)
    assert len(seen(engine, row)) == 1
    age(engine, silent.id, 31)
    assert seen(engine, row) == ()
    report(engine, row)
    with engine.begin() as conn:
        left = conn.scalars(
            text("SELECT id FROM kappa_worker WHERE processor = :p"), {"p": row.processor}
        ).all()
    assert left == [row.id]


def test_a_worker_that_ends_removes_itself_once_or_twice(engine: Engine, row: WorkerRow) -> None:
    report(engine, row)
    for _ in range(2):
        with engine.begin() as conn:
            workers.remove(conn, row.id)
    assert seen(engine, row) == ()


def test_workers_that_wake_together_do_not_wait_for_each_other(
    engine: Engine, row: WorkerRow
) -> None:
    one, other = row, replace(row, id=uuid4(), owner="host:2")
    for each in (one, other):
        report(engine, each)
        age(engine, each.id, 60)
    own = text("SELECT 1 FROM kappa_worker WHERE id = :id FOR UPDATE")
    with engine.begin() as mine, engine.begin() as theirs:
        for conn, each in ((mine, one), (theirs, other)):
            set_lock_timeout(conn, 10_000)
            conn.execute(own, {"id": each.id})
        workers.report(mine, one)  # the other's row is old, and locked: it is left alone
        workers.report(theirs, other)
    assert [each.row.id for each in seen(engine, row)] == sorted([one.id, other.id])


def failed(engine: Engine, row: WorkerRow) -> list[tuple[UUID, object]]:
    with engine.begin() as conn:
        found = workers.failures(conn, row.processor, row.version)
    return [(each.row.id, each.last_error_at) for each in found]


def test_an_error_that_ended_a_worker_outlives_it(engine: Engine, row: WorkerRow) -> None:
    report(engine, row)
    with engine.begin() as conn:
        workers.fail(conn, replace(row, last_error=ERROR))
    assert seen(engine, row) == (), "nobody follows the version"
    ((_, since),) = failed(engine, row)
    age(engine, row.id, 3_600)
    other = replace(row, id=uuid4(), owner="host:2")
    report(engine, other)  # which removes the rows of workers that are gone
    assert failed(engine, row) == [(row.id, since)]
    with engine.begin() as conn:
        workers.fail(conn, replace(other, last_error={**ERROR, "detail": {"pid": "2"}}))
    assert failed(engine, row) == [(other.id, since)], "the same one, met again"
    with engine.begin() as conn:
        workers.fail(conn, replace(row, last_error={**ERROR, "message": "another"}))
    ((last, later),) = failed(engine, row)
    assert (last, later != since) == (row.id, True)


def test_an_error_that_ended_a_worker_goes_when_the_version_is_followed_well(
    engine: Engine, row: WorkerRow
) -> None:
    with engine.begin() as conn:
        workers.fail(conn, replace(row, last_error=ERROR))
        workers.recover(conn, row.processor, 1)
    assert len(failed(engine, row)) == 1, "another partition may be followed well meanwhile"
    age(engine, row.id, 31)
    with engine.begin() as conn:
        workers.recover(conn, row.processor, 2)
    assert len(failed(engine, row)) == 1
    with engine.begin() as conn:
        workers.recover(conn, row.processor, 1)
    assert failed(engine, row) == []
