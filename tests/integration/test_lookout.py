"""Which versions there are is looked up again, whatever kept it from being found out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text

from kappa.errors import KappaError
from kappa.operations.observing import Together
from kappa.runtime.live.lookout import Sight, lookout
from kappa.runtime.live.supervisor import Running, Supervisor
from kappa.runtime.worker.job import Rhythm
from tests.faults import Site, wait_until
from tests.integration.tables_scenes import declare, items

CANCEL = """
    SELECT pg_cancel_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND wait_event_type = 'Lock'
"""


def test_a_lookup_that_was_cancelled_is_shown_and_made_again(
    site: Site, unique: Callable[[str], str]
) -> None:
    running = Running(site.settings, frozenset(), 1, Rhythm(1, 0.0))
    supervisor = Supervisor(running, Together([]))
    with lookout(site.settings.postgres.url.get_secret_value()) as sight:
        wait_until("versions are seen", lambda: sight.versions is not None)
        with site.engine.begin() as lock, site.engine.connect() as other:
            lock.execute(text("LOCK TABLE kappa_version IN ACCESS EXCLUSIVE MODE"))
            wait_until("a lookup is cancelled", lambda: other.scalar(text(CANCEL)) is not None)
            wait_until("it is shown", lambda: sight.error is not None)
            assert isinstance(sight.error, KappaError)
            stale = Sight((), sight.error)
            supervisor._look(stale)
            assert "cancel" in " ".join(supervisor.unready)
        name = unique("seen")
        with site.engine.begin() as connection:
            declare(connection, items(name))
        wait_until(
            "the new version is seen, and no error",
            lambda: name in _names(sight) and sight.error is None,
        )


def test_what_is_no_error_of_a_server_ends_the_run(site: Site) -> None:
    supervisor = Supervisor(Running(site.settings, frozenset(), 1, Rhythm(1, 0.0)), Together([]))
    with pytest.raises(ValueError, match="of the test"):
        supervisor._look(Sight((), ValueError("of the test")))


def _names(sight: Sight) -> set[str]:
    return {record.processor for record in sight.versions or ()}
