"""The exception tree. Every error kappa raises on purpose is here.

    KappaError
    ├── ConfigError                settings that are missing or contradict each other
    ├── PluginError
    │   ├── UnknownProcessor       no installed entry point has this name or version
    │   ├── PluginLoadError        the plugin's module raised while it was loaded
    │   ├── DeclarationError       the processor's declaration cannot work
    │   │   └── InvalidName        a name PostgreSQL would cut or kappa uses itself
    │   ├── InvalidValue           what a handler wrote is not of the declared type
    │   └── AggregateFailed        a function of the user's own aggregate raised
    ├── LogError
    │   ├── BrokerUnavailable      no broker answered
    │   ├── InvalidTopicName       a name Kafka does not allow
    │   ├── UnknownTopic
    │   ├── TopicExists
    │   ├── OffsetOutOfRange       the position asked for is not in the log
    │   ├── HistoryTruncated       the log no longer begins at offset zero
    │   ├── CompactedTopic         compaction has removed history a processor needs
    │   ├── TopicRecreated         the same name, another topic id
    │   ├── DerivedTopic           made by a processor, so it does not hold all of history
    │   ├── PartitionsChanged      keyed state no longer lies where its key does
    │   ├── ProducerFenced         another producer has the same transactional id
    │   └── CorruptBatch           a record batch whose checksum does not match
    ├── SchemaError
    │   ├── InvalidSchema          not Avro, or of a shape kappa refuses
    │   ├── IncompatibleSchema     history could not be read with this schema
    │   ├── UnknownSchema          no schema with this id or subject
    │   └── RegistryUnavailable
    ├── PublishError
    │   ├── BadRecord              an input line that does not fit the schema
    │   ├── DeliveryFailed         the broker did not acknowledge
    │   ├── OutputTaken            the topic of an output is somebody else's
    │   └── RelayFenced            another relay has taken the output over
    ├── TableError
    │   ├── DatabaseUnavailable
    │   ├── MigrationNeeded        kappa's own tables are older than this kappa
    │   ├── NameTaken              a relation of this name exists and is not ours
    │   ├── RelationGone           a table or view that was there is not there any more
    │   ├── LockTimeout            a reader held the lock for longer than we wait
    │   │   └── OffsetsBusy        a worker's checkpoint held its offset rows
    │   └── Deadlock               PostgreSQL ended this transaction for another: run it again
    ├── VersionError
    │   ├── UnknownVersion
    │   ├── FingerprintChanged     other code under the same version number
    │   ├── StateSchemaChanged     what is stored of keys cannot be read with this declaration
    │   ├── IllegalTransition      not allowed in the version's present state
    │   ├── NotCaughtUp            behind what readers have already seen
    │   ├── OutputsBehind          something that is to be sent would be left out
    │   ├── SourceDropped          readers have seen a topic that it does not read
    │   ├── DiffMissing            no comparison with the version in service was accepted
    │   ├── DrainExpired           not caught up in the time the old version may wait
    │   ├── OldSnapshot            a reader's snapshot is older than the version
    │   ├── StillNeeded            what is to be dropped is in use, or may be soon
    │   ├── ViewIncompatible       the view's columns would change under its readers
    │   │   └── RecreateNeeded     that may be meant, and has to be asked for
    │   ├── VersionHeld            two versions of it are being compared at the moment
    │   ├── VersionsDiffer         by more than the comparison allows
    │   ├── NotRepeated            history, replayed again, has given other rows
    │   └── Fenced                 somebody else has claimed the partition since
    ├── ReplayError
    │   ├── WorkerDied             a worker process ended before its partitions did
    │   ├── Stalled                the log goes on and a worker does not
    │   ├── DataRefused            PostgreSQL refused values that were checked before
    │   ├── TooManyDeadLetters     more records fail than the processor allows
    │   ├── UnknownLetter          no dead letter lies at this place
    │   └── NotRetryable           a dead letter of which no copy can be published
    └── DevError                   the development Kafka or PostgreSQL

Client exceptions (aiokafka, confluent-kafka, SQLAlchemy, psycopg, Polars, fastavro) are
translated where they enter and kept as ``__cause__``.
"""

from __future__ import annotations

from typing import ClassVar


class KappaError(Exception):
    """What happened, the detail that locates it, and what to do about it.

    ``message`` is one sentence without a full stop. ``detail`` holds what locates the fault
    (topic, partition, offset, column, version …). ``hint`` is the next thing to try.
    """

    exit_code: ClassVar[int] = 1
    """The process exit status of the command that fails with this error."""

    def __init__(self, message: str, *, hint: str = "", **detail: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = {name: value for name, value in detail.items() if value is not None}

    def __str__(self) -> str:
        located = ", ".join(f"{name}={value}" for name, value in self.detail.items())
        return f"{self.message} ({located})" if located else self.message


class ConfigError(KappaError):
    exit_code = 2


class PluginError(KappaError):
    exit_code = 3


class UnknownProcessor(PluginError):
    pass


class PluginLoadError(PluginError):
    pass


class DeclarationError(PluginError):
    pass


class InvalidName(DeclarationError):
    pass


class InvalidValue(PluginError):
    pass


class AggregateFailed(PluginError):
    pass


class LogError(KappaError):
    pass


class BrokerUnavailable(LogError):
    exit_code = 5


class InvalidTopicName(LogError):
    exit_code = 2


class UnknownTopic(LogError):
    exit_code = 3


class TopicExists(LogError):
    exit_code = 4


class OffsetOutOfRange(LogError):
    exit_code = 4


class HistoryTruncated(LogError):
    exit_code = 4


class CompactedTopic(LogError):
    exit_code = 4


class TopicRecreated(LogError):
    exit_code = 4


class PartitionsChanged(LogError):
    exit_code = 4


class DerivedTopic(LogError):
    exit_code = 4


class ProducerFenced(LogError):
    exit_code = 4


class CorruptBatch(LogError):
    pass


class SchemaError(KappaError):
    pass


class InvalidSchema(SchemaError):
    exit_code = 4


class IncompatibleSchema(SchemaError):
    exit_code = 4


class UnknownSchema(SchemaError):
    exit_code = 3


class RegistryUnavailable(SchemaError):
    exit_code = 5


class PublishError(KappaError):
    pass


class BadRecord(PublishError):
    pass


class DeliveryFailed(PublishError):
    exit_code = 5


class OutputTaken(PublishError):
    exit_code = 4


class RelayFenced(PublishError):
    exit_code = 4


class TableError(KappaError):
    pass


class DatabaseUnavailable(TableError):
    exit_code = 5


class MigrationNeeded(TableError):
    exit_code = 4


class NameTaken(TableError):
    exit_code = 4


class RelationGone(TableError):
    exit_code = 4


class LockTimeout(TableError):
    exit_code = 5


class OffsetsBusy(LockTimeout):
    pass


class Deadlock(TableError):
    exit_code = 5


class VersionError(KappaError):
    exit_code = 4


class UnknownVersion(VersionError):
    exit_code = 3


class FingerprintChanged(VersionError):
    pass


class StateSchemaChanged(VersionError):
    pass


class IllegalTransition(VersionError):
    pass


class NotCaughtUp(VersionError):
    pass


class OutputsBehind(VersionError):
    pass


class SourceDropped(VersionError):
    pass


class DiffMissing(VersionError):
    pass


class DrainExpired(VersionError):
    pass


class OldSnapshot(VersionError):
    pass


class StillNeeded(VersionError):
    pass


class ViewIncompatible(VersionError):
    pass


class RecreateNeeded(ViewIncompatible):
    pass


class VersionHeld(VersionError):
    pass


class VersionsDiffer(VersionError):
    exit_code = 1


class NotRepeated(VersionError):
    exit_code = 1


class Fenced(VersionError):
    pass


class ReplayError(KappaError):
    pass


class WorkerDied(ReplayError):
    pass


class Stalled(ReplayError):
    pass


class DataRefused(ReplayError):
    pass


class TooManyDeadLetters(ReplayError):
    exit_code = 4


class UnknownLetter(ReplayError):
    exit_code = 3


class NotRetryable(ReplayError):
    exit_code = 4


class DevError(KappaError):
    pass
