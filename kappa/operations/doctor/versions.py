"""Every version that is followed: its plugin, and whether its log is still the one it read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from kappa import plugins
from kappa.config import Settings, require_kafka
from kappa.errors import KappaError
from kappa.log.history import TopicHistory, topic_history
from kappa.operations.doctor.finding import Finding, Outcome, ok, problem, warning
from kappa.runtime.assembly import assemble, registry_of
from kappa.runtime.checks import check_partitions, check_positions
from kappa.runtime.live.installed import FOLLOWED, lack_of
from kappa.tables import progress
from kappa.tables.progress import PartitionProgress
from kappa.versions import records
from kappa.versions.records import VersionRecord


@dataclass(frozen=True)
class Followed:
    """A version that is built or kept up to date, as the database knows it."""

    record: VersionRecord
    partitions: tuple[PartitionProgress, ...]

    @property
    def subject(self) -> str:
        return f"{self.record.processor} v{self.record.version}"


def followed(conn: Connection) -> tuple[Followed, ...]:
    """All of them, by processor and number."""
    return tuple(
        Followed(record, progress.read(conn, record.processor, record.version))
        for record in records.list_versions(conn)
        if record.state in FOLLOWED
    )


def check_plugins(versions: Sequence[Followed]) -> Iterator[Finding]:
    """Whether each is installed, with the code it was built with."""
    known = plugins.installed()
    for version in versions:
        lack = lack_of(version.record, known)
        if lack is None:
            yield ok(version.subject, "its plugin is installed and unchanged")
        else:
            yield Finding(version.subject, Outcome.PROBLEM, lack.message, lack.hint)


def check_logs(settings: Settings, versions: Sequence[Followed]) -> Iterator[Finding]:
    """Whether each can go on reading where it stands. Needs a Kafka that answers."""
    kept: dict[str, TopicHistory] = {}
    for version in versions:
        for topic in sorted({row.topic for row in version.partitions}):
            try:
                if topic not in kept:
                    kept[topic] = topic_history(require_kafka(settings), topic)
                check_positions(
                    [row for row in version.partitions if row.topic == topic], kept[topic]
                )
                _check_keys(settings, version, kept[topic])
            except KappaError as error:
                yield problem(version.subject, error)
            else:
                yield _timestamps(version, kept[topic])


def _check_keys(settings: Settings, version: Followed, history: TopicHistory) -> None:
    """Where a key decides the partition; what kind it is, only its plugin knows."""
    if len(history.partitions) == len(version.partitions):
        return
    record, known = version.record, plugins.installed()
    if lack_of(record, known) is not None:
        return  # said already
    loaded = plugins.load(plugins.find(record.processor, record.version, known))
    bound = assemble(loaded, registry_of(settings), record.reader_schema_id).bound
    check_partitions(version.partitions, history, keyed=bound.keyed)


def _timestamps(version: Followed, history: TopicHistory) -> Finding:
    if not history.log_append_time:
        return warning(
            version.subject,
            f"{history.topic} has timestamps of its producers",
            "set message.timestamp.type to LogAppendTime, or a wrong producer clock can make"
            " records dead letters",
        )
    return ok(version.subject, f"{history.topic} is the log it has read so far")
