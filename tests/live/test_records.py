"""Records a running version cannot read yet, or never can, and very large ones."""

from __future__ import annotations

from collections.abc import Callable

import psutil

from kappa.avro.wire import header
from kappa.log.extract import BOMB_BYTES
from tests.faults import wait_until
from tests.live.invariants import check, check_now
from tests.live.scenes import Scene
from tests.readings import LINES, SCHEMA, START_MS, Reading, Sent, Unsent, encoded, good

HIGHEST_ID = 2**31 - 1
LARGE = 10_000_000
BOMB = 64_000_000
MEMORY_CAP = 1_500_000_000
"""Bytes resident: what a worker needs empty, and a few of the largest records it can meet."""


def test_records_of_a_schema_that_is_registered_later(scene: Callable[..., Scene]) -> None:
    here = scene()
    run = here.run()
    here.publish()
    here.catch_up()
    later = Reading("later", 1, 1.0, START_MS)
    epochs = claims(here)
    here.send(good(here.site.schema_id(here.topic), 0, later) for _ in range(3))
    (unknown,) = here.send([Unsent(0, b"later", encoded(HIGHEST_ID, later), later)])
    wait_until("it waits for the schema", lambda: "UnknownSchema" in run.errors())
    here.publish()
    ends = here.site.ends(here.topic)
    others_end = {**ends, 0: unknown.offset}
    wait_until("the others go on", lambda: here.site.positions(here.name) == others_end)
    assert claims(here) == epochs, "they were given up for the one that waits"
    check_now(here)
    here.site.force_schema(here.topic, SCHEMA, 2, HIGHEST_ID)
    check(here)
    assert claims(here) == epochs


def claims(here: Scene) -> dict[int, int]:
    """How often each partition has been claimed."""
    found = here.site.query(
        "SELECT partition, epoch FROM kappa_offset WHERE processor = :name", name=here.name
    )
    return {row.partition: row.epoch for row in found}


def test_records_that_are_no_avro_become_dead_letters(scene: Callable[..., Scene]) -> None:
    here = scene()
    here.run()
    here.publish()
    here.catch_up()
    good_one = encoded(here.site.schema_id(here.topic), Reading("s", 1, 1.0, START_MS))
    here.send([Unsent(0, b"s", b"\x01" + good_one[1:]), Unsent(1, b"s", good_one[:-1])])
    here.publish()
    check(here)


def test_another_schema_under_an_id_that_is_in_use(scene: Callable[..., Scene]) -> None:
    """Who has read the schema of an id goes on with it."""
    here = scene()
    here.run()
    here.publish()
    here.catch_up()
    schema_id = here.site.schema_id(here.topic)
    other = {**SCHEMA, "fields": list(reversed(SCHEMA["fields"]))}
    here.site.force_schema(here.topic, other, 2, schema_id)
    here.send(good(schema_id, 0, Reading("s", n, 1.0, START_MS)) for n in range(20))
    here.catch_up()
    check_now(here)


def test_large_records_stay_below_a_cap_of_memory(scene: Callable[..., Scene]) -> None:
    here = scene(LINES, max_message_bytes="12000000")
    run = here.run()
    (worker,) = run.started()
    schema_id = here.site.schema_id(here.topic)
    here.publish()
    here.catch_up()
    large = [Reading(f"{number}" * LARGE, 1, 1.0, START_MS) for number in range(6)]
    here.send(
        [
            Unsent(number % 3, b"large", encoded(schema_id, reading), reading)
            for number, reading in enumerate(large)
        ],
        message_max_bytes=12_000_000,
        compression_type="zstd",
    )
    here.publish()
    here.catch_up()
    assert _high_water(worker) < MEMORY_CAP
    assert run.workers() == [worker]
    check(here, kept_bytes=4 * len(large) * LARGE)


def test_batches_that_inflate_to_much_more(scene: Callable[..., Scene]) -> None:
    """A few kilobytes each. The first inflates to less than a reader takes, the second to more.

    The second is refused unread, with a named error: to go on would skip it.
    """
    here = scene()
    run = here.run()
    (worker,) = run.started()
    here.publish()
    here.catch_up()
    send_bomb(here, BOMB)
    here.publish()
    check(here, kept_bytes=4 * BOMB)
    assert _high_water(worker) < MEMORY_CAP
    assert run.workers() == [worker]
    (bomb,) = send_bomb(here, BOMB_BYTES)
    here.publish()
    wait_until("it is refused", lambda: any("inflates beyond" in e["event"] for e in run.events()))
    assert run.ended() != 0
    assert here.site.positions(here.name)[bomb.partition] == bomb.offset
    check_now(here)


def send_bomb(here: Scene, size_bytes: int) -> list[Sent]:
    """Publishes a record of zeros behind a schema's id, as small as zstd makes them."""
    value = header(here.site.schema_id(here.topic)) + bytes(size_bytes)
    return here.send(
        [Unsent(0, b"bomb", value)], message_max_bytes=1_000_000_000, compression_type="zstd"
    )


def _high_water(process: psutil.Process) -> int:
    with open(f"/proc/{process.pid}/status") as status:
        (line,) = (line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
