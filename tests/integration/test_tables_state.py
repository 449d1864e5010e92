"""What keyed processors remember and their side outputs, in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from threading import Thread

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from kappa.errors import DataRefused, IllegalTransition, NameTaken
from kappa.processing.events import STATE_SCHEMA
from kappa.runtime.worker.store import PostgresStore
from kappa.tables import build, catalog, sink, state
from kappa.tables.layout import (
    INDEX_COLUMN,
    OFFSET_COLUMN,
    PARTITION_COLUMN,
    Column,
    Layout,
    Side,
)
from kappa.tables.merge import MergeRule
from kappa.tables.sqltypes import TEXT
from kappa.tables.state import KeyRow
from kappa.versions.keyed_layout import keyed_layout
from tests.integration.tables_scenes import items
from tests.unit.keyed_trials import TRIALS, Trial, check, run

Unique = Callable[[str], str]

PLACE = (PARTITION_COLUMN, OFFSET_COLUMN, INDEX_COLUMN)


def keyed(name: str, version: int = 1) -> Layout:
    """An append-only table with a state table and a side output."""
    reason = Column("reason", TEXT, MergeRule.FIXED)
    layout = items(name, version, columns=("amount",))
    return replace(
        layout,
        columns=(layout.columns[0], *PLACE),
        key=tuple(column.name for column in PLACE),
        sides=(Side("reviews", (reason, *PLACE)),),
        state="format 1",
    )


def changes(rows: Iterable[tuple[int, str, bytes | None, int | None, int | None]]) -> pl.DataFrame:
    """Partition, key, state, event-time and processing-time timer."""
    return pl.DataFrame(list(rows), schema=STATE_SCHEMA, orient="row")


def created(engine: Engine, layout: Layout) -> Layout:
    with engine.begin() as conn:
        build.create(conn, layout)
    return layout


def stored(conn: Connection, layout: Layout) -> list[tuple[object, ...]]:
    rows = conn.execute(text(f'SELECT * FROM "{layout.state_table}" ORDER BY partition, key'))
    return [tuple(bytes(v) if isinstance(v, memoryview) else v for v in row) for row in rows]


def indexes(conn: Connection, table: str) -> list[str]:
    found = conn.scalars(
        text("SELECT indexdef FROM pg_indexes WHERE tablename = :t ORDER BY indexname"),
        {"t": table},
    )
    return [definition.partition(" USING ")[2] for definition in found]


def test_a_state_table_has_its_key_from_the_start(engine: Engine, unique: Unique) -> None:
    layout = created(engine, keyed(unique("born")))
    assert layout.state_table is not None
    with engine.begin() as conn:
        assert indexes(conn, layout.state_table) == [
            "btree (partition, processing_timer) WHERE (processing_timer IS NOT NULL)",
            "btree (partition, event_timer) WHERE (event_timer IS NOT NULL)",
            "btree (partition, key)",
        ]
        build.create(conn, layout)
        assert len(indexes(conn, layout.state_table)) == 3


def test_states_are_replaced_added_and_removed(engine: Engine, unique: Unique) -> None:
    layout = created(engine, keyed(unique("change")))
    with engine.begin() as conn:
        state.write(conn, layout, changes([(0, "a", b"\0\xff", 5, None), (0, "b", b"", None, 7)]))
        state.write(conn, layout, changes([]))
        later = [(1, "a", b"other", None, None), (0, "b", None, None, None), (0, "c", None, 1, 1)]
        state.write(conn, layout, changes(later))
        state.write(conn, layout, changes([(0, "a", b"new", None, 9)]))
    with engine.connect() as conn:
        assert stored(conn, layout) == [(0, "a", b"new", None, 9), (1, "a", b"other", None, None)]


_KEYS = ["", "a", "b", "ä", "Ö", "🐍", 'quo"te,d', "\\.", "line\nbreak"]
_TIMES = st.one_of(st.none(), st.integers(-5, 5), st.sampled_from([-(2**63), 2**63 - 1]))
_STATES = st.dictionaries(
    st.tuples(st.integers(0, 2), st.sampled_from(_KEYS)),
    st.tuples(st.one_of(st.none(), st.binary(max_size=3)), _TIMES, _TIMES),
)


@pytest.fixture(scope="module")
def shared(engine: Engine) -> Layout:
    return created(engine, keyed("statesx"))


@given(
    st.lists(_STATES, max_size=3),
    st.integers(0, 2),
    st.lists(st.sampled_from(_KEYS), unique=True),
    _TIMES,
    _TIMES,
)
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
def test_states_are_found_by_key_and_by_timer(
    engine: Engine,
    shared: Layout,
    writes: list[dict[tuple[int, str], tuple[bytes | None, int | None, int | None]]],
    partition: int,
    keys: list[str],
    event_through: int | None,
    processing_through: int | None,
) -> None:
    expected: dict[tuple[int, str], tuple[bytes | None, int | None, int | None]] = {}
    with engine.connect() as conn:
        for written in writes:
            rows = [(*key, *value) for key, value in written.items()]
            state.write(conn, shared, changes(rows))
            expected |= written
        found = state.states(conn, shared, partition, keys, event_through, processing_through)
        conn.rollback()
    wanted = {
        key: KeyRow(key, held, event, processing)
        for (of, key), (held, event, processing) in expected.items()
        if of == partition
        and held is not None
        and (
            key in keys
            or (event is not None and event_through is not None and event <= event_through)
            or (
                processing is not None
                and processing_through is not None
                and processing <= processing_through
            )
        )
    }
    assert len(found) == len(wanted)
    assert {row.key: row for row in found} == wanted


@pytest.mark.parametrize("known", [0, 1, 7])
def test_every_state_of_a_partition_is_read_if_there_are_no_more(
    engine: Engine, shared: Layout, known: int
) -> None:
    mine = [(1, f"key {number}", b"x", None, number) for number in range(known)]
    with engine.connect() as conn:
        state.write(conn, shared, changes([*mine, (0, "another's", b"y", None, None)]))
        state.write(conn, shared, changes([(1, "gone", b"z", 5, None)]))
        state.write(conn, shared, changes([(1, "gone", None, None, None)]))
        found = state.every_state(conn, shared, 1, known)
        too_many = state.every_state(conn, shared, 1, known - 1) if known else None
        conn.rollback()
    assert found is not None
    assert sorted(found) == [KeyRow(*row[1:]) for row in mine]
    assert too_many is None


class _Store(PostgresStore):
    """The store a fold has in production, and the commits of a test's worker."""

    def __init__(self, engine: Engine, layout: Layout) -> None:
        super().__init__(engine, layout)
        self._engine, self._layout = engine, layout

    def write(self, frame: pl.DataFrame) -> None:
        with self._engine.begin() as conn:
            state.write(conn, self._layout, frame)


@given(TRIALS)
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
def test_a_processor_goes_on_from_what_is_stored_as_in_the_reference(
    engine: Engine, trial: Trial
) -> None:
    layout = keyed_layout(trial.bound)
    with engine.begin() as conn:
        build.create(conn, layout)
    check(trial, run(trial, _Store(engine, layout)))
    with engine.begin() as conn:
        build.drop(conn, layout.processor, layout.version, [side.name for side in layout.sides])


def test_many_keys_are_looked_up_one_by_one_in_the_index(engine: Engine, unique: Unique) -> None:
    layout = created(engine, keyed(unique("plan")))
    with engine.connect() as conn:  # not analyzed: the planner knows nothing of the keys
        rows = [(0, f"key {number}", b"x", None, None) for number in range(20_000)]
        state.write(conn, layout, changes(rows))
        wanted = [f"key {number * 2}" for number in range(10_000)]
        statement = state._of_keys(layout).compile(dialect=conn.dialect)
        plan = conn.exec_driver_sql(
            f"EXPLAIN (ANALYZE, FORMAT TEXT) {statement}",
            {"partition": 0, "wanted": json.dumps(wanted), "param_1": 1},
        )
        shown = "\n".join(row[0] for row in plan)
        conn.rollback()
    assert f"Index Scan using {layout.state_table}__key" in shown
    assert "Seq Scan" not in shown


def test_two_workers_write_their_partitions_at_once(engine: Engine, unique: Unique) -> None:
    layout = created(engine, keyed(unique("two")))
    failures: list[BaseException] = []

    def work(partition: int) -> None:
        try:
            for round_ in range(5):
                rows = [
                    (partition, f"{number % 50}-{round_ % 2}", b"s", number, None)
                    for number in range(50)
                ]
                with engine.begin() as conn:
                    state.write(conn, layout, changes(rows))
        except BaseException as error:  # noqa: BLE001 - reported by the test
            failures.append(error)

    threads = [Thread(target=work, args=(partition,)) for partition in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with engine.connect() as conn:
        assert len(stored(conn, layout)) == 200


def test_side_outputs_are_appended_and_get_their_key_in_the_end(
    engine: Engine, unique: Unique
) -> None:
    layout = created(engine, keyed(unique("side")))
    (side,) = layout.sides
    table = layout.side_table(side)
    row = {"reason": ["odd"], "_partition": [0], "_offset": [7], "_index": [0]}
    with engine.begin() as conn:
        sink.append_side(conn, layout, "reviews", pl.DataFrame(row))
        sink.append_side(conn, layout, "reviews", pl.DataFrame(row).clear())
        assert not catalog.has_constraint(conn, table, f"{table}__key")
        build.finish(conn, layout)
        assert catalog.has_constraint(conn, table, f"{table}__key")
    with pytest.raises(DataRefused), engine.begin() as conn:
        sink.append_side(conn, layout, "reviews", pl.DataFrame(row))
    with engine.connect() as conn:
        assert conn.execute(text(f'SELECT * FROM "{table}"')).all() == [("odd", 0, 7, 0)]


def test_rows_of_one_record_are_told_apart_by_their_number(engine: Engine, unique: Unique) -> None:
    layout = created(engine, keyed(unique("rows")))
    rows = pl.DataFrame(
        {"amount": [1, 2], "_partition": [0, 0], "_offset": [7, 7], "_index": [0, 1]}
    )
    with engine.begin() as conn:
        sink.append(conn, layout, rows[:1])
        build.finish(conn, layout)
        sink.upsert(conn, layout, rows[1:])
    with pytest.raises(DataRefused), engine.begin() as conn:
        sink.upsert(conn, layout, rows[1:])


def test_dropping_a_version_drops_its_state_and_side_outputs(
    engine: Engine, unique: Unique
) -> None:
    layout = created(engine, keyed(unique("drop")))
    table = layout.side_table(layout.sides[0])
    with engine.begin() as conn:
        conn.execute(text(f'CREATE VIEW "{layout.processor}_seen" AS SELECT * FROM "{table}"'))
    with pytest.raises(IllegalTransition), engine.begin() as conn:
        build.drop(conn, layout.processor, layout.version, ["reviews"])
    with engine.begin() as conn:
        conn.execute(text(f'DROP VIEW "{layout.processor}_seen"'))
        build.drop(conn, layout.processor, layout.version, ["reviews"])
        for name in (table, layout.state_table, layout.table):
            assert name is not None
            assert catalog.find(conn, name) is None
        build.drop(conn, layout.processor, layout.version, ["reviews"])


def test_a_foreign_table_of_a_state_tables_name_is_left_alone(
    engine: Engine, unique: Unique
) -> None:
    layout = keyed(unique("foreign"))
    with engine.begin() as conn:
        conn.execute(text(f'CREATE TABLE "{layout.state_table}" (partition integer)'))
    with pytest.raises(NameTaken), engine.begin() as conn:
        build.create(conn, layout)
