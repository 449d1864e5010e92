"""SIGKILL at every step of a batch, in a rebalance, and with a COMMIT on its way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg.conninfo import make_conninfo

from kappa import failpoints
from tests.faults import wait_until
from tests.integration.postgres_proxy import CommitProxy
from tests.live.invariants import check, check_now
from tests.live.scenes import Scene


@pytest.mark.timeout(600)
def test_a_worker_is_killed_at_every_step_of_a_batch(scene: Callable[..., Scene]) -> None:
    here = scene()
    here.before_the_fault()
    for step in failpoints.BATCH:
        here.publish(60)
        run = here.run("--max-batch", "7", environment={failpoints.VARIABLE: f"{step}@3"})
        wait_until(f"killed at {step}", lambda run=run: "WorkerDied" in run.errors())
        run.kill()
        check_now(here)
    here.run()
    check(here)


@pytest.mark.parametrize("step", failpoints.REBALANCE)
def test_a_worker_is_killed_in_a_rebalance(scene: Callable[..., Scene], step: str) -> None:
    here = scene()
    here.publish()
    armed = {failpoints.VARIABLE: step}
    first = here.run(environment=armed if step == "revoked" else {})
    here.catch_up()
    here.publish()
    second = here.run(environment=armed if step == "claimed" else {})
    dying = first if step == "revoked" else second
    wait_until("killed in the rebalance", lambda: "WorkerDied" in dying.errors())
    here.publish()
    dying.kill()
    check(here)


@pytest.mark.parametrize("cut", ["commit", "answer", "kill"])
def test_a_commit_or_its_answer_is_lost(scene: Callable[..., Scene], cut: str) -> None:
    here = scene()
    with CommitProxy(here.site.engine, after=f"{here.name}__v1".encode(), most=0) as proxy:
        url = make_conninfo(proxy.url)
        run = here.run(environment={"KAPPA_POSTGRES__URL": url})
        here.publish(15)
        here.catch_up()
        proxy.most = 3
        proxy.cut = (lambda: run.started()[0].kill()) if cut == "kill" else cut  # type: ignore[assignment]
        while proxy.cuts < 3:
            before = proxy.cuts
            here.publish(15)
            wait_until("a COMMIT is cut", lambda before=before: proxy.cuts > before)
        here.publish(15)
        check(here)
