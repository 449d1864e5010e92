"""A broker that is well and cannot be reached, in every way in which that happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.faults import Site, wait_until
from tests.integration.proxy import Proxy
from tests.live.invariants import check
from tests.live.scenes import Scene

STOP_S = 10
"""What a stop is promised to take at most."""
SLOW_S = 5.0

FAULTS: dict[str, tuple[Callable[[Proxy], object], Callable[[Proxy], object]]] = {
    "refused": (Proxy.refuse, Proxy.accept),
    "silent": (Proxy.silence, Proxy.speak),
    "slow": (lambda proxy: proxy.delay(SLOW_S), lambda proxy: proxy.delay(0)),
    "reset": (lambda proxy: proxy.cut(), lambda proxy: None),
    "cut": (lambda proxy: proxy.cut_after(100), lambda proxy: None),
}
"""How each begins and ends."""
NOTICED = {"refused", "silent"}
"""Those that last until they are ended, and are told of."""


@pytest.fixture
def proxy(site: Site) -> Iterator[Proxy]:
    """In front of the broker."""
    with Proxy(site.kafka.bootstrap_servers) as proxy:
        yield proxy


@pytest.mark.parametrize("fault", FAULTS)
def test_it_goes_on_afterwards_and_stops_meanwhile(
    scene: Callable[..., Scene], proxy: Proxy, fault: str
) -> None:
    begin, cease = FAULTS[fault]
    here = scene()
    run = here.run(environment={"KAPPA_KAFKA__BOOTSTRAP_SERVERS": proxy.bootstrap_servers})
    here.publish()
    here.catch_up()
    begin(proxy)
    here.publish()
    if fault in NOTICED:
        wait_until("it is noticed", lambda: "BrokerUnavailable" in run.errors())
    cease(proxy)
    here.catch_up()
    begin(proxy)
    here.publish()
    assert run.stop(STOP_S) == 0
    cease(proxy)
    here.run()
    check(here)
