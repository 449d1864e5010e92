"""Workers that were paused or blocked while others went on, and that then wake up."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from kappa.config import KafkaSettings
from kappa.log.history import TopicHistory, topic_history
from kappa.plugins import find, load
from kappa.runtime.assembly import assemble
from kappa.runtime.live import admittance
from tests.faults import Site, wait_until
from tests.live.invariants import check, check_now
from tests.live.scenes import Scene

SLOW = """
import time
from pathlib import Path

import polars as pl
from kappa import KeyedProcessor, Source
from kappa.runtime.live import standstill

standstill.REBUILD_AFTER_S, standstill.END_AFTER_S = {rebuild}, {end}


class Slow(KeyedProcessor):
    name, version = "{{name}}", 1
    source = Source("{{topic}}", event_time="at")
    key = "sensor"
    columns = ("code",)
    output = {{{{"sensor": pl.String(), "code": pl.Int64()}}}}

    def on_event(self, event, ctx):
        while Path("{blocked}").exists():
            time.sleep(0.05)
        ctx.emit(sensor=ctx.key, code=event.code)

processor = Slow
"""


def slow(tmp_path: Path, rebuild: float, end: float) -> tuple[str, Path]:
    """A processor whose handler does not return while a file is there, and that file."""
    blocked = tmp_path / "blocked"
    return SLOW.format(rebuild=rebuild, end=end, blocked=blocked), blocked


def applied(site: Site, here: Scene) -> None:
    """Each record was applied once."""
    found = site.query(f"SELECT _partition, _offset FROM {here.name}__v1")
    rows = sorted((row[0], row[1]) for row in found)
    assert rows == sorted((one.partition, one.offset) for one in here.sent)
    assert here.history.breaks == []


def test_a_worker_that_was_paused_in_a_commit_wakes_up_fenced(
    scene: Callable[..., Scene],
) -> None:
    here = scene()
    first = here.run()
    (paused,) = first.started()
    here.publish()
    here.catch_up()
    held = here.site.positions(here.name)
    with psycopg.connect(here.site.settings.postgres.url.get_secret_value()) as lock:
        lock.execute(f"LOCK TABLE {here.name}__v1 IN SHARE MODE".encode())
        here.publish()
        wait_until("its commit waits for the table", lambda: _waiting(here))
        paused.send_signal(signal.SIGSTOP)
    second = here.run()
    here.moved(held)
    assert here.owners() == {second.started()[0].pid}
    here.publish()
    here.catch_up()
    paused.send_signal(signal.SIGCONT)
    here.publish()
    check(here)
    assert paused.is_running()


def test_a_supervisor_that_is_paused_holds_up_none_of_its_workers(
    scene: Callable[..., Scene],
) -> None:
    """They tell it of every checkpoint, which is more than a pipe holds."""
    here = scene()
    run = here.run("--max-batch", "1")
    (worker,) = run.started()
    here.publish()
    here.catch_up()
    run.supervisor.send_signal(signal.SIGSTOP)
    here.publish(500)
    here.catch_up(180)
    run.supervisor.send_signal(signal.SIGCONT)
    assert run.workers() == [worker]
    assert run.stop() == 0
    check_now(here)


def test_a_worker_that_was_paused_when_it_had_asked_where_the_log_ends(
    scene: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others have committed records meanwhile that lie behind that end."""
    here = scene()
    here.run()
    here.publish()
    here.catch_up()

    def asked(kafka: KafkaSettings, topic: str) -> TopicHistory:
        history = topic_history(kafka, topic)
        here.publish()
        here.catch_up()
        return history

    monkeypatch.setattr(admittance, "topic_history", asked)
    site = here.site
    assembly = assemble(load(find(here.name, 1)), site.registry)
    found = admittance.registered_positions(site.engine, site.kafka, assembly, lambda note: None)
    assert {row.partition: row.next_offset for row in found} == site.positions(here.name)
    check(here)


def _waiting(here: Scene) -> bool:
    return bool(
        here.site.query(
            "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = to_regclass(:table)",
            table=f"{here.name}__v1",
        )
    )


def test_a_blocked_handler_loses_its_partitions_to_a_process_that_joins(
    site: Site, scene: Callable[..., Scene], tmp_path: Path
) -> None:
    code, blocked = slow(tmp_path, rebuild=15, end=45)
    here = scene(code)
    here.run()
    here.publish()
    here.catch_up()
    blocked.touch()
    here.publish()
    second = here.run()
    wait_until(
        "the second process takes partitions over",
        lambda: second.started()[0].pid in here.owners(),
    )
    blocked.unlink()
    here.publish()
    here.catch_up()
    applied(site, here)


def test_a_handler_that_never_returns_ends_its_worker_with_a_named_error(
    site: Site, scene: Callable[..., Scene], tmp_path: Path
) -> None:
    code, blocked = slow(tmp_path, rebuild=1, end=3)
    here = scene(code)
    run = here.run()
    here.publish()
    here.catch_up()
    stalled = '"error": "Stalled"'
    before = len(run.events(stalled))  # a slow machine can stand still by itself
    blocked.touch()
    here.publish()

    def said() -> list[str]:
        return ["end" if "again_in_s" in e else e["event"] for e in run.events(stalled)[before:]]

    wait_until("its worker ends", lambda: "end" in said())
    assert "built anew" in said()[0]
    blocked.unlink()
    here.catch_up()
    applied(site, here)
