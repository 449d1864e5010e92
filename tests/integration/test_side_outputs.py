"""A keyed processor's outputs: tables of one version, and views that move together."""

from __future__ import annotations

import sys

import pytest

from kappa.errors import NameTaken, StateSchemaChanged, ViewIncompatible
from kappa.operations.promote import Options, plan, promote, rollback
from kappa.tables import build
from kappa.versions import records
from kappa.versions.identity import fingerprint
from tests.faults import Site
from tests.readings import START_MS, Reading, good

CODE = """
import polars as pl
from kappa import KeyedProcessor, Source, ValueState

class Marks(KeyedProcessor):
    name, version = "{name}", {version}
    source = Source("{topic}", event_time="at")
    key = "sensor"
    columns = ["code", "value"]
    output = {{"sensor": pl.String(), "code": pl.Int64()}}
    outputs = {{{outputs}}}
    last = ValueState({state})

    def on_event(self, event, ctx):
        self.last.set({state}(event.code))
        ctx.emit(sensor=ctx.key, code=event.code * {version})
        if event.value > 2 and "high" in self.outputs:
            ctx.emit_to("high", sensor=ctx.key, value=event.value * {version})
"""
HIGH = '"high": {"sensor": pl.String(), "value": pl.Float64()}'
SPARE = '"spare": {"sensor": pl.String()}'


@pytest.fixture
def topic(site: Site) -> str:
    topic = site.topic(2)
    schema_id = site.schema_id(topic)
    site.publish(
        topic,
        [good(schema_id, n % 2, Reading(f"s{n % 2}", n, float(n), START_MS + n)) for n in range(6)],
    )
    return topic


def declare(
    site: Site, topic: str, name: str | None, version: int, outputs: str = HIGH, state: str = "int"
) -> str:
    """Installs (or replaces the code of) one version of a processor."""
    name = name or site.processor("processor = None", topic)
    module = f"{name}_v{version}"
    code = CODE.format(name=name, topic=topic, version=version, outputs=outputs, state=state)
    (site.plugins / f"{module}.py").write_text(code)
    info = site.plugins / f"{name}_plugin-1.0.dist-info" / "entry_points.txt"
    known = [] if version == 1 else info.read_text().splitlines()[1:]
    entries = ["[kappa.processors]", *known, f"{name}.v{version} = {module}:Marks"]
    info.write_text("\n".join(entries) + "\n")
    return name


def execute(site: Site, statement: str) -> None:
    with site.engine.begin() as connection:
        connection.exec_driver_sql(statement)


def seen(site: Site, view: str) -> list[tuple[object, ...]]:
    return sorted(tuple(row) for row in site.query(f"SELECT * FROM {view}"))


def test_all_views_move_in_one_transaction(site: Site, topic: str) -> None:
    name = declare(site, topic, None, 1)
    site.replay(name)
    promote(site.settings, {name: 1})
    assert seen(site, name) == [("s0", 0), ("s0", 2), ("s0", 4), ("s1", 1), ("s1", 3), ("s1", 5)]
    assert seen(site, f"{name}__high") == [("s0", 4.0), ("s1", 3.0), ("s1", 5.0)]
    declare(site, topic, name, 2, f"{HIGH}, {SPARE}")
    site.replay(name, version=2)
    promote(site.settings, {name: 2})
    assert seen(site, f"{name}__high") == [("s0", 8.0), ("s1", 6.0), ("s1", 10.0)]
    assert seen(site, f"{name}__spare") == []
    _back_and_forth(site, name)


def _back_and_forth(site: Site, name: str) -> None:
    """Version 1 has no output 'spare': its view goes with version 2, and comes again with it."""
    spare = f"{name}__spare"
    recreate = Options(recreate=True)
    with pytest.raises(ViewIncompatible, match=f"'{spare}' with it") as caught:
        rollback(site.settings, (name,))
    assert caught.value.hint.endswith(f"kappa rollback {name} --recreate")
    for dependent, made in (
        (f"VIEW over_{name}", f"AS TABLE {spare}"),
        (f"FUNCTION over_{name}()", f"RETURNS SETOF {spare} LANGUAGE sql AS 'TABLE {spare}'"),
    ):
        execute(site, f"CREATE {dependent} {made}")
        (planned,) = plan(site.settings, {name: 1}, options=recreate)
        assert f"over_{name}" in str(planned.refusal)
        with pytest.raises(ViewIncompatible, match=f"over_{name}"):
            rollback(site.settings, (name,), options=recreate)
        execute(site, f"DROP {dependent}")
        assert seen(site, spare) == [], "and nothing has changed"
    (planned,) = plan(site.settings, {name: 1}, options=recreate)
    assert f'DROP VIEW "{spare}" RESTRICT' in planned.statements
    rollback(site.settings, (name,), options=recreate)
    assert site.query("SELECT to_regclass(:v)", v=spare) == [(None,)]
    assert seen(site, f"{name}__high") == [("s0", 4.0), ("s1", 3.0), ("s1", 5.0)]
    promote(site.settings, {name: 2})
    assert seen(site, spare) == []
    with pytest.raises(ViewIncompatible, match="'spare' would be gone"):
        promote(site.settings, {name: 1})
    assert promote(site.settings, {name: 1}, options=recreate).moves[0].changed


def test_an_output_that_readers_know_cannot_go(site: Site, topic: str) -> None:
    name = declare(site, topic, None, 1)
    site.replay(name)
    promote(site.settings, {name: 1})
    declare(site, topic, name, 2, SPARE)
    site.replay(name, version=2)
    with pytest.raises(ViewIncompatible, match="'high' would be gone"):
        promote(site.settings, {name: 2})
    assert len(seen(site, name)) == 6
    assert site.query("SELECT to_regclass(:v)", v=f"{name}__spare") == [(None,)]


def test_a_relation_of_somebody_elses_is_left_alone(site: Site, topic: str) -> None:
    name = declare(site, topic, None, 1)
    with site.engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {name}__high (x int)")
    site.replay(name)
    with pytest.raises(NameTaken, match=f"{name}__high"):
        promote(site.settings, {name: 1})
    assert site.query("SELECT to_regclass(:v)", v=name) == [(None,)], "no view moved without it"


def test_state_of_another_shape_is_refused_even_where_the_code_was_accepted(
    site: Site, topic: str
) -> None:
    name = declare(site, topic, None, 1)
    site.replay(name)
    declare(site, topic, name, 1, state="float")
    del sys.modules[f"{name}_v1"]
    with site.engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE kappa_version SET fingerprint = '{_fingerprint(site, name)}'"
            f" WHERE processor = '{name}'"
        )
    with pytest.raises(StateSchemaChanged, match="last"):
        site.replay(name)


def test_dropping_a_version_drops_all_its_tables(site: Site, topic: str) -> None:
    name = declare(site, topic, None, 1)
    site.replay(name)
    with site.engine.begin() as connection:
        layout = records.require(connection, name, 1).layout
        build.drop(connection, name, 1, [side.name for side in layout.sides])
    left = site.query("SELECT tablename FROM pg_tables WHERE tablename LIKE :p", p=f"{name}%")
    assert left == []


def _fingerprint(site: Site, name: str) -> str:
    return fingerprint(name, 1, f"{name}_v1:Marks")
