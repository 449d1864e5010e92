"""``kappa run`` on two hosts, as it were: both follow, one sends, and the other takes over."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from kappa.operations.promote import promote
from tests.faults import Site, wait_until
from tests.integration.relay_scenes import reading
from tests.integration.test_relay_topics import lines
from tests.readings import Reading, good

PARTITIONS = 3


@contextmanager
def host(site: Site, name: str) -> Iterator[subprocess.Popen[bytes]]:
    env = {**os.environ, **site.environment}
    command = [sys.executable, "-m", "kappa", "run", name, "--max-batch", "20"]
    process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def publish(site: Site, topic: str, first: int, count: int) -> None:
    schema_id = site.schema_id(topic)
    numbers = range(first, first + count)
    site.publish(
        topic,
        [good(schema_id, n % PARTITIONS, Reading(f"s{n % 7}", 1, 1.0, 1_000 * n)) for n in numbers],
    )


def test_one_of_two_hosts_sends_and_when_it_is_killed_the_other_goes_on(site: Site) -> None:
    topic = site.topic(PARTITIONS)
    output = f"out.{topic}"
    name = site.processor(lines(output), topic)
    site.replay(name)
    promote(site.settings, {name: None})
    sender = "SELECT owner FROM kappa_relay WHERE processor = :p"
    with host(site, name) as first:
        publish(site, topic, 0, 90)
        with reading(site, output) as reader:
            reader.wait_for(90)
            with host(site, name):
                before = site.query(sender, p=name)
                publish(site, topic, 90, 90)
                reader.wait_for(180)
                assert site.query(sender, p=name) == before
                first.kill()
                publish(site, topic, 180, 90)
                wait_until("the other sends", lambda: site.query(sender, p=name) != before)
                reader.wait_for(270)
            places = [(one.row["part"], one.row["place"]) for one in reader.found if one.row]
    assert Counter(places) == Counter((n % PARTITIONS, n // PARTITIONS) for n in range(270))
    for part in range(PARTITIONS):
        of_part = [place for number, place in places if number == part]
        assert len(of_part) == 90
