"""Outputs of records in a topic: what each guarantee promises, with the relay killed at will."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kappa.operations.promote import promote
from tests.faults import Site
from tests.integration.relay_scenes import reading, relaying
from tests.readings import START_MS, Reading, good

LINES = """
import polars as pl
from kappa import Projection, Source, ToTopic

processor = Projection(
    name="{{name}}",
    version=1,
    source=Source("{{topic}}"),
    columns=["sensor", "code", pl.col("@partition").alias("part"), pl.col("@offset").alias("place")],
    publish={{{{"main": ToTopic("{output}", guarantee="{guarantee}")}}}},
)
"""


def test_try(site: Site) -> None:
    topic = site.topic(2)
    output = f"out{topic}"
    name = site.processor(LINES.format(output=output, guarantee="exactly_once"), topic)
    schema_id = site.schema_id(topic)
    recs = [good(schema_id, n % 2, Reading(f"s{n % 2}", n, float(n), START_MS + n)) for n in range(10)]
    site.publish(topic, recs)
    site.replay(name)
    promote(site.settings, name, 1)
    site.publish(topic, recs)
    site.replay(name)
    print(site.query("select * from kappa_outbox where processor=:n", n=name))
    with relaying(site.settings, name) as told:
        from tests.faults import wait_until
        wait_until("told", lambda: bool(told))
        print(told)
        with reading(site, output) as reader:
            found = reader.wait_for(10)
            for f in found: print(f)
