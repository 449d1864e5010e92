"""A version that is followed while faults befall it, and every record that was sent to it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.faults import Site, wait_until
from tests.integration.kafka_scenes import producer
from tests.live.footprint import Footprint
from tests.live.history import History
from tests.live.running import Run
from tests.readings import LINES, TOTALS, Sent, Unsent, good, readings

_APPLIED = {
    TOTALS: "SELECT sum(readings) FROM {name}__v1",
    LINES: "SELECT count(*) FROM {name}__v1",
}
"""How many records the rows of a table stand for."""


class Scene:
    """A topic, a version built over it while it was empty, and its history from then on.

    Args:
        config: the topic's.

    Attributes:
        before: the most that a run took when all was committed for the first time.
    """

    def __init__(
        self, site: Site, directory: Path, code: str, partitions: int, config: Mapping[str, str]
    ) -> None:
        self.site = site
        self.code = code
        self.topic = site.topic(partitions, **config)
        self.partitions = partitions
        self.name = site.processor(code, self.topic)
        self.sent: list[Sent] = []
        self.runs: list[Run] = []
        self.before: Footprint | None = None
        site.replay(self.name)
        self._directory = directory
        self._seeds = itertools.count(1)
        self._stack = ExitStack()
        applied = _APPLIED.get(code)
        url = site.settings.postgres.url.get_secret_value()
        self.history = self._stack.enter_context(
            History(url, self.name, applied and applied.format(name=self.name))
        )

    def run(self, *args: str, environment: Mapping[str, str] | None = None) -> Run:
        """Starts ``kappa run`` for the version, with these arguments and variables besides."""
        number = next(self._seeds)
        log = self._directory / f"{self.name}-{number}.log"
        here = {**self.site.environment, **(environment or {})}
        self.runs.append(self._stack.enter_context(Run(here, log, self.name, *args)))
        return self.runs[-1]

    def followed(self) -> Run:
        """A run that has begun to follow, and soon says that a broker does not answer."""
        run = self.run(environment={"KAPPA_KAFKA__DEFAULT_API_TIMEOUT_MS": "1500"})
        self.publish()
        self.catch_up()
        return run

    def publish(self, count: int = 60) -> list[Sent]:
        """Publishes so many readings to the partitions in turn."""
        schema_id = self.site.schema_id(self.topic)
        made = readings(count, seed=next(self._seeds))
        return self.send(
            good(schema_id, number % self.partitions, reading)
            for number, reading in enumerate(made)
        )

    def send(self, records: Iterable[Unsent], **config: object) -> list[Sent]:
        """Publishes these records, by a producer of this configuration if there is any."""
        by = producer(self.site.kafka, **config) if config else None
        sent = self.site.publish(self.topic, records, by)
        self.sent += sent
        return sent

    @property
    def lag(self) -> int:
        """How many offsets are not committed yet."""
        at = self.site.positions(self.name)
        return sum(end - at.get(number, 0) for number, end in self.site.ends(self.topic).items())

    def catch_up(self, seconds: float = 60) -> None:
        """Waits until everything sent so far is committed.

        What the runs take when they have done so for the first time is what they have to come
        back to, and those that are started later as well.
        """
        self.reach_the_end(seconds)
        owners = self.owners()
        for run in self.runs:
            if run.before is None and owners & {worker.pid for worker in run.workers()}:
                run.before = run.footprint()
        if self.before is None and (found := [run.before for run in self.runs if run.before]):
            self.before = Footprint.most(found)

    def reach_the_end(self, seconds: float) -> None:
        """Waits until everything sent so far is committed."""
        wait_until("all is committed", lambda: self.lag == 0, seconds)

    def before_the_fault(self) -> None:
        """Lets a run of its own catch up, for what that takes, and stops it."""
        run = self.run()
        self.publish()
        self.catch_up()
        assert run.stop() == 0

    def moved(self, since: Mapping[int, int], seconds: float = 60) -> None:
        """Waits until every partition is past where it was."""

        def past() -> bool:
            now = self.site.positions(self.name)
            return all(now[number] > then for number, then in since.items())

        wait_until("every partition goes on", past, seconds)

    def owners(self) -> set[int]:
        """The process ids that claimed the partitions last."""
        found = self.site.query(
            "SELECT DISTINCT owner FROM kappa_offset WHERE processor = :name", name=self.name
        )
        return {int(row.owner.rsplit(":", 1)[1]) for row in found if row.owner}

    def close(self) -> None:
        """Kills what still runs."""
        self._stack.close()
