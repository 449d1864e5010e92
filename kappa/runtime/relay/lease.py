"""A relay's word that it is there, given again and again.

A relay that is killed or paused stops giving it, and after a while another takes its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from kappa.errors import KappaError
from kappa.runtime.beat import Beat
from kappa.tables import relays
from kappa.tables.engine import connect

_EVERY_S = 2.0


@contextmanager
def lease(postgres_url: str, processor: str, output: str, epoch: int) -> Iterator[None]:
    """Renewed while the block runs, given up when it is left."""
    engine = connect(postgres_url)

    def renew() -> None:
        # A database that is away is the relay's trouble; then nobody can take over either.
        with suppress(KappaError), engine.begin() as connection:
            relays.renew(connection, processor, output, epoch)

    try:
        with Beat("kappa-lease", _EVERY_S, renew):
            yield
        with suppress(KappaError), engine.begin() as connection:
            relays.vacate(connection, processor, output, epoch)
    finally:
        engine.dispose()
