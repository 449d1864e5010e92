"""What a processor sends on is no history: replays refuse it, and outputs keep to themselves."""

from __future__ import annotations

import pytest

from kappa.errors import DerivedTopic, IncompatibleSchema, OutputTaken
from kappa.operations import topics
from kappa.operations.replay import replay
from kappa.runtime.outputs.registration import origin
from tests.faults import Site
from tests.readings import START_MS, Reading, good

COPY = """
import polars as pl
from kappa import Projection, Source, ToTopic

processor = Projection(
    name="{name}",
    version=1,
    source=Source("{topic}"),
    columns=["sensor", COLUMN],
    publish={{"main": ToTopic("OUTPUT")}},
)
"""
PLAIN = """
from kappa import Projection, Source

processor = Projection(name="{name}", version=1, source=Source("{topic}"), columns=["sensor"])
"""


def copy(site: Site, topic: str, output: str, column: str = '"code"') -> str:
    code = COPY.replace("OUTPUT", output).replace("COLUMN", column)
    return site.processor(code, topic)


def rebuild(site: Site, name: str, *, allow_derived: bool) -> None:
    replay(
        site.settings,
        name,
        1,
        workers=1,
        batch_size=100,
        allow_truncated=False,
        allow_derived=allow_derived,
        on_plan=lambda planned: None,
        on_progress=lambda offsets: None,
    )


def test_a_derived_topic_is_no_source_unless_somebody_insists(site: Site) -> None:
    topic = site.topic(1)
    output = f"copy.{topic}"
    name = copy(site, topic, output)
    site.replay(name)
    assert site.registry.derived_from(output) == origin(name, "main")
    site.create(output)
    assert topics.show(site.settings, output).derived_from == f"{name}.main"
    second = site.processor(PLAIN, output)
    with pytest.raises(DerivedTopic, match="output of a processor") as refused:
        rebuild(site, second, allow_derived=False)
    assert refused.value.detail["derived_from"] == f"{name}.main"
    assert site.query("SELECT 1 FROM kappa_version WHERE processor = :p", p=second) == []
    rebuild(site, second, allow_derived=True)
    rebuild(site, second, allow_derived=False)
    found = site.query("SELECT overrides FROM kappa_version WHERE processor = :p", p=second)
    assert found == [([f"{output} is derived from {name}.main"],)]


def test_an_output_does_not_go_where_another_one_does(site: Site) -> None:
    topic = site.topic(1)
    output = f"copy.{topic}"
    first = copy(site, topic, output)
    site.replay(first)
    second = copy(site, topic, output)
    with pytest.raises(OutputTaken, match=f"already holds the output {first}.main"):
        site.replay(second)
    assert site.query("SELECT 1 FROM kappa_version WHERE processor = :p", p=second) == []


def test_an_output_does_not_go_into_somebody_elses_records(site: Site) -> None:
    topic, other = site.topic(1), site.topic(1)
    row = good(site.schema_id(other), 0, Reading("s", 1, 1.0, START_MS))
    site.publish(other, [row])
    name = copy(site, topic, other)
    with pytest.raises(OutputTaken, match="no output of a processor"):
        site.replay(name)


def test_a_schema_that_readers_of_the_output_could_not_follow_is_refused(site: Site) -> None:
    topic = site.topic(1)
    output = f"copy.{topic}"
    name = copy(site, topic, output)
    site.replay(name)
    module = f"{name}_second"
    code = COPY.replace("version=1", "version=2").replace("OUTPUT", output)
    code = code.replace("COLUMN", 'pl.col("code").cast(pl.String)')
    (site.plugins / f"{module}.py").write_text(code.format(name=name, topic=topic))
    info = site.plugins / f"{name}_plugin-1.0.dist-info" / "entry_points.txt"
    info.write_text(f"{info.read_text()}{name}.v2 = {module}:processor\n")
    with pytest.raises(IncompatibleSchema):
        site.replay(name, version=2)
    assert site.query("SELECT max(version) FROM kappa_version WHERE processor = :p", p=name) == [
        (1,)
    ]
