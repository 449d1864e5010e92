"""What a replay that several processes share has left, while the topic grows under it."""

from __future__ import annotations

from kappa.runtime.replay.join import _Shared
from kappa.runtime.replay.plan import plan
from kappa.runtime.worker.job import Rhythm
from tests.faults import Site
from tests.readings import TOTALS, good, readings


def test_a_partition_that_others_have_added_is_none_of_it(site: Site) -> None:
    """Who follows the built version has registered it since the plan was made."""
    topic = site.topic(2)
    name = site.processor(TOTALS, topic)
    schema_id = site.schema_id(topic)
    made = readings(40, seed=1)
    site.publish(topic, [good(schema_id, n % 2, one) for n, one in enumerate(made[:20])])
    site.replay(name)
    site.publish(topic, [good(schema_id, n % 2, one) for n, one in enumerate(made[20:])])
    shared = _Shared(plan(site.settings, name, 1), site.engine, Rhythm(100, 1.0), lambda n: None)
    assert shared.left() == {0: 20, 1: 20}
    site.query(
        "INSERT INTO kappa_offset"
        " (processor, version, topic, topic_id, partition, start_offset, next_offset)"
        " SELECT processor, version, topic, topic_id, 2, 0, 0 FROM kappa_offset"
        " WHERE processor = :name AND partition = 0 RETURNING 1",
        name=name,
    )
    assert shared.left() == {0: 20, 1: 20}
