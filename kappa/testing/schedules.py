"""Ways to read the same partitions: cut into batches, interleaved, interrupted."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum


class Act(Enum):
    """What may happen between two batches."""

    CHECKPOINT = "checkpoint"
    FLUSH = "flush"
    """The first half of a checkpoint: it is committed by the next, or lost in a restart."""
    RESTART = "restart"


@dataclass(frozen=True)
class Read:
    """A batch: the next ``count`` records of a partition."""

    partition: int
    count: int

    def __str__(self) -> str:
        return f"{self.count} of partition {self.partition}"


Step = Read | Act


@dataclass(frozen=True)
class Schedule:
    """A way to read all partitions to their ends. ``name`` says which, in a message."""

    name: str
    steps: Sequence[Step]

    def __str__(self) -> str:
        return ", ".join(step.value if isinstance(step, Act) else str(step) for step in self.steps)


Lengths = Mapping[int, int]
"""How many records each partition has."""


def one_by_one(lengths: Lengths) -> Schedule:
    """The plainest way: partition after partition, record after record."""
    steps = [Read(p, 1) for p, length in lengths.items() for _ in range(length)]
    return Schedule("record by record", steps)


def fixed(lengths: Lengths) -> Iterator[Schedule]:
    """The extremes: everything at once, and a restart at every record."""
    whole = [Read(partition, length) for partition, length in lengths.items()]
    yield Schedule("each partition in one batch", whole)
    yield Schedule("each partition in one batch, the last one first", whole[::-1])
    yield Schedule("in turns, a checkpoint and a restart after each record", _in_turns(lengths))


def after_jumps(lengths: Lengths, jumps: Mapping[int, Sequence[int]]) -> Iterator[Schedule]:
    """A restart right after each record that moved the watermark far.

    ``jumps`` gives the positions of these records by partition.
    """
    for partition, positions in jumps.items():
        for position in positions:
            others = [Read(p, length) for p, length in lengths.items() if p != partition]
            rest = lengths[partition] - position - 1
            yield Schedule(
                f"a restart after record {position} of partition {partition}",
                [
                    *([Read(partition, position)] if position else ()),
                    Act.CHECKPOINT,
                    Read(partition, 1),
                    Act.CHECKPOINT,
                    Act.RESTART,
                    *others,
                    *([Read(partition, rest)] if rest else ()),
                ],
            )


def at_random(lengths: Lengths, count: int, seed: int) -> Iterator[Schedule]:
    """``count`` ways, the same for the same seed."""
    rng = random.Random(seed)
    for number in range(count):
        most = rng.choice([1, 3, 10, 100])
        yield Schedule(f"random way {number} of seed {seed}", _mixed(lengths, most, rng))


def _in_turns(lengths: Lengths) -> list[Step]:
    longest = max(lengths.values(), default=0)
    turns = (p for at in range(longest) for p, length in lengths.items() if at < length)
    return [step for p in turns for step in (Read(p, 1), Act.CHECKPOINT, Act.RESTART)]


def _mixed(lengths: Lengths, most: int, rng: random.Random) -> list[Step]:
    left = {partition: length for partition, length in lengths.items() if length}
    steps: list[Step] = []
    while left:
        partition = rng.choice(list(left))
        count = min(left[partition], rng.randint(1, most))
        steps.append(Read(partition, count))
        left[partition] -= count
        if not left[partition]:
            del left[partition]
        if rng.random() < 0.5:
            steps += rng.choices(list(Act), k=rng.randint(1, 2))
    return steps
