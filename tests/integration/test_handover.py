"""What waits to leave is the new version's to send, as far as it can."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from kappa.errors import OutputsBehind
from kappa.tables import dirty_keys, progress, sink
from kappa.tables.finality import Finality
from kappa.tables.layout import Layout
from kappa.tables.progress import NewPartition
from kappa.tables.publication import Carries, Publication, TopicTarget
from kappa.tables.sqltypes import BIGINT, TEXT, SqlType
from kappa.versions import records
from kappa.versions.deployment import Options
from kappa.versions.lifecycle import State
from kappa.versions.promote import promote
from tests.integration.tables_scenes import (
    customer_rows,
    customers,
    declare,
    items,
    move_to,
    ready,
    revenue,
    revenue_rows,
    set_final,
)
from tests.integration.test_promote import active

Unique = Callable[[str], str]
MINUTE = 60_000


def publishing(layout: Layout, carries: Carries) -> Layout:
    sent = Publication("main", carries, "exactly_once", TopicTarget(f"out.{layout.processor}"))
    return replace(layout, publishes=(sent,))


def waiting(engine: Engine, name: str) -> list[tuple[int, dict[str, object]]]:
    """The version and the key of each row that waits to leave."""
    found = text("SELECT version, key FROM kappa_dirty_key WHERE processor = :n ORDER BY 1, 2")
    with engine.connect() as conn:
        return [(row.version, row.key) for row in conn.execute(found, {"n": name})]


def keyed(name: str, version: int, key: SqlType) -> Layout:
    """`customers`, with a key of this type."""
    layout = publishing(customers(name, version), Carries.UPDATES)
    first, *others = layout.columns
    return replace(layout, columns=(replace(first, type=key), *others))


@pytest.mark.parametrize(("key", "taken"), [(TEXT, True), (BIGINT, False)])
def test_a_waiting_key_goes_to_a_version_that_can_read_it(
    engine: Engine, unique: Unique, key: SqlType, taken: bool
) -> None:
    """The two versions differ in the type of their key's column, or do not."""
    name = unique("keys")
    former, layout = keyed(name, 1, TEXT), keyed(name, 2, key)
    for one in (former, layout):
        ready(engine, one, [10])
    promote(engine, {name: 1}, who="test")
    rows = customer_rows([("sku-17", "Ann", 1, 9, False)])
    with engine.begin() as conn:
        sink.upsert(conn, former, rows)
        dirty_keys.mark(conn, former, "main", rows, {0: 10})
    promote(engine, {name: 2}, who="test", options=Options(recreate=True))
    assert waiting(engine, name) == ([(2, {"customer": "sku-17"})] if taken else [])


def windows(name: str, version: int) -> Layout:
    """`revenue`, whose windows leave once they are final."""
    final = replace(revenue(name, version), finality=Finality(0, hides=True))
    return publishing(final, Carries.FINAL)


def of_windows_that_are_never_final(name: str) -> Layout:
    return publishing(revenue(name), Carries.UPDATES)


def without_the_output(name: str) -> Layout:
    return replace(windows(name, 1), publishes=())


@pytest.mark.parametrize(
    ("before", "leave"),
    [
        (lambda name: windows(name, 1), 1),
        (of_windows_that_are_never_final, 0),
        (without_the_output, 0),
    ],
)
def test_what_was_final_before_an_output_began_does_not_leave(
    engine: Engine, unique: Unique, before: Callable[[str], Layout], leave: int
) -> None:
    """Of two windows the former version, where it has final ones, knows the first to be final."""
    name = unique("final")
    former, layout = before(name), windows(name, 2)
    rows = revenue_rows([("a", start * MINUTE, 1, 1, "c", "c") for start in (0, 10)])
    for one, through in ((former, "1970-01-01 00:05+00"), (layout, "1970-01-01 00:20+00")):
        ready(engine, one, [10])
        with engine.begin() as conn:
            sink.upsert(conn, one, rows)
        set_final(engine, name, one.version, through if one.finality is not None else None)
    promote(engine, {name: 1}, who="test")
    promote(engine, {name: 2}, who="test")
    starts = [key["window_start"] for _, key in waiting(engine, name)]
    assert starts == ["1970-01-01T00:10:00+00:00"][:leave]


@pytest.mark.parametrize(
    ("before", "own", "leave"),
    [
        ("1970-01-01 00:20+00", "1970-01-01 00:05+00", [10]),
        ("1970-01-01 00:20+00", "0001-01-01 00:00+00", [0, 10]),
        ("1970-01-01 00:20+00", None, [0, 10]),
        ("0001-01-01 00:00+00", "1970-01-01 00:20+00", [0, 10]),
        ("1970-01-01 00:20+00", "1970-01-01 00:20+00", []),
    ],
)
def test_windows_leave_that_are_final_in_one_of_both_versions(
    engine: Engine, unique: Unique, before: str, own: str | None, leave: list[int]
) -> None:
    """By its own lateness the new version may be final further than the former, or less far."""
    name = unique("final")
    rows = revenue_rows([("a", start * MINUTE, 1, 1, "c", "c") for start in (0, 10)])
    for layout, through in ((windows(name, 1), before), (windows(name, 2), own)):
        ready(engine, layout, [10])
        with engine.begin() as conn:
            sink.upsert(conn, layout, rows)
        set_final(engine, name, layout.version, through)
    promote(engine, {name: 1}, who="test")
    promote(engine, {name: 2}, who="test")
    starts = [key["window_start"] for _, key in waiting(engine, name)]
    assert starts == [f"1970-01-01T00:{minute:02}:00+00:00" for minute in leave]


def test_a_partition_the_serving_version_does_not_know_is_not_left_out(
    engine: Engine, unique: Unique
) -> None:
    """Version 2 had read it when outputs began, and has kept nothing of it; version 3 reads
    another topic of that name."""
    name = unique("gap")
    one, two, three = (publishing(items(name, v), Carries.RECORDS) for v in (1, 2, 3))
    ready(engine, one, [10])
    ready(engine, two, [10, 5])
    promote(engine, {name: 1}, who="test")
    with pytest.raises(OutputsBehind) as caught:
        promote(engine, {name: 2}, who="test")
    detail = caught.value.detail
    assert (detail["topic"], detail["partition"]) == ("t", 1)
    assert (detail["offset"], detail["needed"]) == (0, 5)
    with engine.begin() as conn:
        declare(conn, three)
        progress.register(conn, name, 3, [NewPartition("t", 0, "created again", 0)])
        records.transition(conn, name, 3, State.READY)
    dropped = Options(dropped_sources=frozenset({"t"}))
    promote(engine, {name: 3}, who="test", options=dropped)
    promote(engine, {name: 2}, who="test", options=dropped)
    assert active(engine, name) == 2


def test_it_takes_over_once_the_serving_version_has_read_that_partition(
    engine: Engine, unique: Unique
) -> None:
    name = unique("gap")
    one, two = (publishing(items(name, v), Carries.RECORDS) for v in (1, 2))
    ready(engine, one, [10])
    ready(engine, two, [10, 5])
    promote(engine, {name: 1}, who="test")
    move_to(engine, one, [10, 5])
    promote(engine, {name: 2}, who="test")
    assert active(engine, name) == 2
