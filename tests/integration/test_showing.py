"""What a supervisor's workers and relays say of themselves, as ``kappa status`` finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine

from kappa.errors import BrokerUnavailable, TopicRecreated
from kappa.operations import observing
from kappa.operations.background import Background
from kappa.operations.observing import Showing
from kappa.runtime.live.observer import Post, Relay, RelayPost, Worker
from kappa.runtime.live.pulse import Pulse, Standing
from kappa.runtime.relay.sending import Relayed
from kappa.runtime.worker.job import Report
from kappa.tables import relays, workers
from kappa.tables.layout import Layout
from tests.faults import Site, wait_until
from tests.integration.tables_scenes import declare, items

AWAY = BrokerUnavailable("away")
BEHIND = (Standing("items", 0, 5, 9, None),)


@pytest.fixture
def layout(engine: Engine, unique: Callable[[str], str]) -> Layout:
    made = items(unique("shown"))
    with engine.begin() as conn:
        declare(conn, made)
    return made


@contextmanager
def showing(site: Site) -> Iterator[Showing]:
    """One that writes all it hears; leaving it waits until it has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observing, "_WRITE_EVERY_S", 0.0)
        with Background(site.settings.postgres.url.get_secret_value()) as background:
            yield Showing(background)
            written: list[object] = []
            background.do(written.append)
            wait_until("all is written", lambda: bool(written))


def error_of(engine: Engine, layout: Layout) -> Any:
    with engine.connect() as conn:
        (seen,) = workers.read(conn, layout.processor, layout.version)
    return seen.row.last_error and seen.row.last_error["class"]


def test_an_error_that_a_worker_waits_out_is_shown_until_it_gets_on(
    site: Site, engine: Engine, layout: Layout
) -> None:
    worker = Worker.at(Post(layout.processor, layout.version, 0), 1)
    with showing(site) as shown:
        shown.started(worker)
        shown.pulse(worker, Pulse("waiting", error=AWAY))
        shown.pulse(worker, Pulse("following", BEHIND))
    assert error_of(engine, layout) == "BrokerUnavailable", "it has begun anew, and done nothing"
    with showing(site) as shown:
        shown.started(worker)
        shown.pulse(worker, Pulse("waiting", error=AWAY))
        shown.report(worker, Report(records=1))
        shown.pulse(worker, Pulse("following", BEHIND))
    assert error_of(engine, layout) is None


def test_what_keeps_an_output_from_being_sent_is_shown_until_it_is_sent(
    site: Site, engine: Engine, layout: Layout
) -> None:
    name = layout.processor
    one, other = (Relay(RelayPost(name, "main"), pid) for pid in (1, 2))

    def found() -> Any:
        with engine.connect() as conn:
            (row,) = relays.read(conn, name)
        return row.last_error and row.last_error["class"], row.last_error_at

    with showing(site) as shown:
        shown.relay_failed(one, TopicRecreated("another one"), 1.0)
    error, since = found()
    assert (error, since is not None) == ("TopicRecreated", True)
    with engine.begin() as conn:
        assert relays.is_vacant(conn, name, "main")
        assert relays.claim(conn, name, "main", one.owner) == 1
    with showing(site) as shown:
        shown.relayed(other, Relayed(name, "main"))
        shown.relay_failed(one, TopicRecreated("another one"), 1.0)
    assert found() == (error, since), "one that stands by says nothing of the output"
    with showing(site) as shown:
        shown.relayed(one, Relayed(name, "main", failure=AWAY))
    assert found()[0] == "BrokerUnavailable"
    with showing(site) as shown:
        shown.relayed(one, Relayed(name, "main", sent=1))
    assert found() == (None, None)
