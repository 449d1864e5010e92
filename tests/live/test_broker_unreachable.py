"""A broker that is well and cannot be reached, in every way in which that happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from tests.faults import Site, wait_until
from tests.integration.proxy import Proxy
from tests.live.invariants import check, check_now
from tests.live.running import Run
from tests.live.scenes import Scene

STOP_S = 10
"""What a stop is promised to take at most."""
SLOW_S = 5.0

LASTING: dict[str, tuple[Callable[[Proxy], object], Callable[[Proxy], object]]] = {
    "refused": (Proxy.refuse, Proxy.accept),
    "silent": (Proxy.silence, Proxy.speak),
    "slow": (lambda proxy: proxy.delay(SLOW_S), lambda proxy: proxy.delay(0)),
}
"""How each begins and ends."""
PASSING: dict[str, Callable[[Proxy], object]] = {
    "reset": Proxy.cut,
    "cut": lambda proxy: proxy.cut_after(100),
}
"""Those that are over once connections were lost."""


@pytest.fixture
def proxies(site: Site) -> Iterator[Callable[[], Proxy]]:
    """Opens proxies in front of the broker."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Proxy(site.kafka.bootstrap_servers))


def through(here: Scene, proxy: Proxy) -> Run:
    """A run that knows the broker by the proxy, and soon says that it does not answer."""
    return here.run(
        environment={
            "KAPPA_KAFKA__BOOTSTRAP_SERVERS": proxy.bootstrap_servers,
            "KAPPA_KAFKA__DEFAULT_API_TIMEOUT_MS": "1500",
        }
    )


def said(run: Run, words: str, than: int) -> bool:
    return len(run.events(words)) > than


def test_it_goes_on_afterwards(scene: Callable[..., Scene], proxies: Callable[[], Proxy]) -> None:
    here, proxy = scene(), proxies()
    run = through(here, proxy)
    here.publish()
    here.catch_up()
    for fault, (begin, cease) in LASTING.items():
        troubles, recoveries = len(run.events("BrokerUnavailable")), len(run.events("goes on"))
        begin(proxy)
        here.publish()
        wait_until(f"{fault} is told", partial(said, run, "BrokerUnavailable", troubles))
        cease(proxy)
        here.catch_up()
        wait_until(f"{fault} is over", partial(said, run, "goes on", recoveries))
    for fault, befall in PASSING.items():
        lost = proxy.lost
        befall(proxy)
        here.publish()
        wait_until(f"{fault} loses connections", lambda lost=lost: proxy.lost > lost)
        here.catch_up()
    check(here)
    assert run.running


def test_it_stops_meanwhile(scene: Callable[..., Scene], proxies: Callable[[], Proxy]) -> None:
    """One process for each fault, and each has a partition."""
    here = scene()
    faults = {name: proxies() for name in LASTING}
    runs = {name: through(here, proxy) for name, proxy in faults.items()}
    here.publish()
    wait_until("each has a partition", lambda: len(here.owners()) == len(runs))
    here.catch_up()
    for name, proxy in faults.items():
        begin, _ = LASTING[name]
        begin(proxy)
    here.publish()
    asked_at = time.monotonic()
    for run in runs.values():
        run.ask_to_stop()
    for name, run in runs.items():
        left = asked_at + STOP_S - time.monotonic()
        assert run.ended(max(left, 0.0)) == 0, name
    assert here.lag > 0
    check_now(here)
    here.run()
    check(here)
