"""``kappa run``: for every version that is to be followed, processes on this host.

The supervisor looks up again and again which versions there are, starts what is missing, stops
what is no longer wanted, and starts anew, after a pause that grows, what has failed. Several
hosts need nothing but the same Kafka and PostgreSQL.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait

from kappa.config import Settings, require_postgres
from kappa.errors import KappaError
from kappa.runtime.live.lookout import Sight, lookout
from kappa.runtime.live.observer import Observer, Post, RelayPost
from kappa.runtime.live.place import Place, RelayPlace, WorkerPlace
from kappa.runtime.processes import shared_threads
from kappa.runtime.relay.sending import relays_of
from kappa.runtime.worker.job import Rhythm
from kappa.versions.lifecycle import BUILT, State
from kappa.versions.records import VersionRecord

_SERVES = frozenset({State.SERVING, State.DRAINING})

_WAIT_S = 0.2


@dataclass(frozen=True)
class Running:
    """What to keep up to date.

    Attributes:
        names: the processors; none means all.
        workers: processes for each version on this host.
    """

    settings: Settings
    names: frozenset[str]
    workers: int
    rhythm: Rhythm


class Supervisor:
    """Keeps the wanted places filled until told to stop."""

    def __init__(self, running: Running, observer: Observer) -> None:
        self._running = running
        self._observer = observer
        self._places: dict[Post | RelayPost, Place] = {}
        self._trouble: KappaError | None = None
        self._has_looked = False
        self.looked_at = time.monotonic()
        """When the loop last came round, for a health check."""

    def run(self, stopping: threading.Event) -> None:
        """Goes on until ``stopping``; then every process finishes its batch and is waited for.

        Raises:
            KappaError: nothing can be followed, for reasons that do not pass by waiting.
            Exception: which versions there are cannot be looked up, and that is kappa's own fault.
        """
        try:
            with lookout(require_postgres(self._running.settings)) as sight:
                while not stopping.is_set():
                    self._look(sight)
                    self._fill()
                    self._hear()
                    self._require_hope()
                    self.looked_at = time.monotonic()
            self._finish()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Ends every process at once, as safely as a crash."""
        for place in list(self._places.values()):
            place.abandon()

    @property
    def unready(self) -> tuple[str, ...]:
        """Why not everything is being followed; empty if it is."""
        if not self._has_looked:
            return ("which versions there are is being looked up",)
        looks = [f"which versions there are: {self._trouble}"] if self._trouble else []
        return (*looks, *self._unfilled())

    def _unfilled(self) -> Iterator[str]:
        return (
            f"{place}: " + (str(place.error) if place.error else "is being started")
            for place in list(self._places.values())
            if not place.is_leaving and not (place.settled and place.error is None)
        )

    def _look(self, sight: Sight) -> None:
        """Finds out which places are wanted.

        Raises:
            Exception: which versions there are cannot be looked up, and that is kappa's own fault.
        """
        error = sight.error
        if error is not None and not isinstance(error, KappaError):
            raise error
        if error is not None and error is not self._trouble:
            self._observer.trouble(error)
        self._trouble = error
        if sight.versions is None:
            return
        self._has_looked = True
        wanted = list(self._wanted(sight.versions))
        for post in wanted:
            if post not in self._places:
                self._places[post] = self._place(post)
        for post in self._places.keys() - set(wanted):
            self._places[post].dismiss()
            if self._places[post].child is None:
                del self._places[post]

    def _wanted(self, versions: Collection[VersionRecord]) -> Iterator[Post | RelayPost]:
        running = self._running
        for record in versions:
            if running.names and record.processor not in running.names:
                continue
            if record.state in BUILT:
                for number in range(running.workers):
                    yield Post(record.processor, record.version, number)
            if record.state in _SERVES:
                for output in relays_of(record.layout):
                    yield RelayPost(record.processor, output)

    def _place(self, post: Post | RelayPost) -> Place:
        settings = self._running.settings
        if isinstance(post, RelayPost):
            return RelayPlace(settings, post, self._observer)
        return WorkerPlace(settings, post, self._running.rhythm, self._observer)

    def _fill(self) -> None:
        empty = [place for place in self._places.values() if place.is_due]
        if empty:
            with shared_threads(len(self._places)):
                for place in empty:
                    place.fill()

    def _hear(self) -> None:
        """Takes what processes have to say, and ends who hangs or does not leave."""
        at = {place.child.pipe: place for place in self._places.values() if place.child}
        if at:
            for ready in wait(list(at), _WAIT_S):
                at[ready].hear()  # type: ignore[index]
        else:
            time.sleep(_WAIT_S)
        for place in self._places.values():
            place.look_after()

    def _require_hope(self) -> None:
        """Passes unless every place is empty for a reason that stays."""
        places = list(self._places.values())
        if not all(place.is_hopeless for place in places):
            return
        for place in places:
            if place.error is not None:
                raise place.error

    def _finish(self) -> None:
        for place in self._places.values():
            place.dismiss()
        while any(place.child for place in self._places.values()):
            self._hear()
