"""What a worker is told to do, and what it tells back. All of it can be sent to a process."""

from __future__ import annotations

from dataclasses import dataclass

from kappa.config import Settings
from kappa.tables.layout import Layout


@dataclass(frozen=True)
class Rhythm:
    """How much is folded between two checkpoints.

    Attributes:
        batch_size: records, at most.
        delay_s: a checkpoint is due so long after the first record it holds, at the latest.
        rate_limit: records per second, on average at most; None for as fast as it goes.
        batch_bytes: decompressed bytes of records, about, at most.
    """

    batch_size: int
    delay_s: float
    rate_limit: float | None = None
    batch_bytes: int = 256 * 1024 * 1024


@dataclass(frozen=True)
class Job:
    """A share of one version's partitions, to be read to fixed ends.

    Attributes:
        partitions: (topic, partition) pairs this worker claims.
        targets: the offset, exclusive, at which each of them ends.
        building: whether rows are appended to a table without keys, or merged into one.
        owner: who claims, for people who look at the offset rows.
        layout: the version's tables as they were made.
        spans: the ends up to which all the version's partitions are being read, by whom so ever.
        silent: the version's partitions that have nothing to read.
    """

    settings: Settings
    name: str
    version: int
    reader_schema_id: int
    partitions: tuple[tuple[str, int], ...]
    targets: tuple[int, ...]
    building: bool
    rhythm: Rhythm
    owner: str
    layout: Layout
    spans: tuple[tuple[str, int, int], ...] = ()
    silent: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Report:
    """What a checkpoint added, sent once it is committed.

    ``offsets`` counts the offsets passed, gaps and markers included; ``rows`` those written;
    ``commit_s`` is how long the transaction took, in seconds. The rest are records.
    """

    offsets: int = 0
    records: int = 0
    late: int = 0
    dead: int = 0
    filtered: int = 0
    size_bytes: int = 0
    rows: int = 0
    corrections: int = 0
    commit_s: float = 0.0

    def followed_by(self, later: Report) -> Report:
        """What both checkpoints added, as if they were one."""
        return self + later

    def __add__(self, other: Report) -> Report:
        return Report(
            self.offsets + other.offsets,
            self.records + other.records,
            self.late + other.late,
            self.dead + other.dead,
            self.filtered + other.filtered,
            self.size_bytes + other.size_bytes,
            self.rows + other.rows,
            self.corrections + other.corrections,
            self.commit_s + other.commit_s,
        )
