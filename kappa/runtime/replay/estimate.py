"""What a replay will take, as far as former replays tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kappa.config import require_kafka, require_postgres
from kappa.log.topics import show_topic
from kappa.registry.topic import value_subject
from kappa.runtime.replay.plan import Plan
from kappa.tables.engine import connect
from kappa.tables.sizes import table_sizes
from kappa.versions import records
from kappa.versions.lifecycle import State
from kappa.versions.records import VersionRecord


@dataclass(frozen=True)
class Estimate:
    """What is known before; None where nothing tells.

    Attributes:
        size_bytes: what is read from the brokers, as it lies there.
        seconds: at the rate of the last build: of this processor if there is one.
        disk_bytes: what the tables will take, going by the last version's per record.
        schema_ids: schemas that records were or may be written with.
    """

    size_bytes: int | None
    seconds: float | None
    disk_bytes: int | None
    schema_ids: tuple[int, ...]


def estimate(plan: Plan) -> Estimate:
    """Looks at brokers, registry and former versions. Writes nothing."""
    name = plan.assembly.name
    engine = connect(require_postgres(plan.settings))
    try:
        with engine.connect() as connection:
            known = records.list_versions(connection)
            former = _last_built(v for v in known if v.processor == name)
            per_record = 0.0
            if former is not None and former.state is not State.RETIRED:
                sizes = table_sizes(connection, name, former.version)
                per_record = sum(sizes.values()) / max(_records(former), 1)
    finally:
        engine.dispose()
    rate = _rate(former) or _rate(_last_built(known))
    return Estimate(
        size_bytes=_bytes(plan),
        seconds=round(plan.offsets / rate, 1) if rate else None,
        disk_bytes=round(plan.offsets * per_record) if per_record and plan.building else None,
        schema_ids=_schema_ids(plan),
    )


def _last_built(found: Iterable[VersionRecord]) -> VersionRecord | None:
    """The one that was built last, of those that read anything."""
    built = [record for record in found if record.ready_at is not None and _records(record)]
    return max(built, key=lambda record: record.ready_at or record.created_at, default=None)


def _records(record: VersionRecord) -> int:
    return int((record.manifest or {}).get("records", 0))


def _rate(record: VersionRecord | None) -> float | None:
    """Records per second, of the run that ended its build."""
    if record is None or not record.manifest:
        return None
    run = record.manifest.get("last_run", record.manifest)  # older ones know of no other run
    return run["records"] / run["seconds"] if run["seconds"] else None


def _bytes(plan: Plan) -> int | None:
    """The share of each partition's bytes that its offsets to read are of all."""
    detail = show_topic(require_kafka(plan.settings), plan.history.topic)
    spans = {span.partition: span.end - span.start for span in plan.spans}
    total = 0
    for part in detail.partitions:
        held = part.history
        wanted = spans.get(held.partition, 0)
        if wanted and part.size_bytes is None:
            return None
        total += round((part.size_bytes or 0) * wanted / max(held.end - held.log_start, 1))
    return total


def _schema_ids(plan: Plan) -> tuple[int, ...]:
    subject = value_subject(plan.assembly.topic)
    return tuple(sorted(version.schema_id for version in plan.registry.versions(subject)))
