"""How many dead letters a processor goes on with."""

from __future__ import annotations

from dataclasses import dataclass

from kappa.errors import DeclarationError


@dataclass(frozen=True, slots=True)
class DeadLetterLimit:
    """When to stop instead of filling the table of dead letters with a whole topic.

    Letters count as long as they are open: neither dropped by a person, nor with a copy that was
    applied.

    Attributes:
        count: the most open letters of a version. None: any number.
        rate: the greatest share of the records of a partition that may be open letters, looked
            at with each of them, so that it does not depend on how records are cut into batches.
            None: any share.
        rate_from: the open letters of the partition from which on ``rate`` holds.
    """

    count: int | None = 100_000
    rate: float | None = 0.1
    rate_from: int = 1_000

    def __post_init__(self) -> None:
        if self.count is not None and (type(self.count) is not int or self.count < 0):
            raise DeclarationError(
                f"max_dead_letters: count is {self.count!r}",
                hint="a number from zero on, or None for any number",
            )
        is_share = isinstance(self.rate, int | float) and 0 <= self.rate <= 1
        if self.rate is not None and not is_share:
            raise DeclarationError(
                f"max_dead_letters: rate is {self.rate!r}",
                hint="a share between 0 and 1, or None for any share",
            )
        if type(self.rate_from) is not int or self.rate_from < 0:
            raise DeclarationError(
                f"max_dead_letters: rate_from is {self.rate_from!r}",
                hint="a number of letters, from zero on",
            )


USUAL = DeadLetterLimit()
NO_LIMIT = DeadLetterLimit(count=None, rate=None)
