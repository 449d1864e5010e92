"""People who sell and bid (PersonGenerator of Flink and Beam)."""

from __future__ import annotations

import polars as pl

from bench.nexmark.config import FIRST_PERSON_ID, PERSON_BYTES, Config, Whole
from bench.nexmark.draws import Draws
from bench.nexmark.ids import newest_person
from bench.nexmark.schemas import INSTANT
from bench.nexmark.texts import choices, fillers, length, words

STATES = ["AZ", "CA", "ID", "OR", "WA", "WY"]
CITIES = [
    *("Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland"),
    *("Bend", "Redmond", "Seattle", "Kent", "Cheyenne"),
]
FIRST_NAMES = [
    *("Peter", "Paul", "Luke", "John", "Saul", "Vicky"),
    *("Kate", "Julie", "Sarah", "Deiter", "Walter"),
]
LAST_NAMES = [
    *("Shultz", "Abrams", "Spencer", "White", "Bartels"),
    *("Walton", "Smith", "Jones", "Noris"),
]
_ID_BYTES = 8


def people(events: Whole, draws: Draws, config: Config) -> pl.DataFrame:
    """The people whom these events bring, in the events' order."""
    size = len(events)
    first, last = choices(draws, size, FIRST_NAMES), choices(draws, size, LAST_NAMES)
    user, host = words(draws, size, 7), words(draws, size, 5)
    card = [pl.Series(draws.below(10_000, size)).cast(pl.String).str.zfill(4) for _ in range(4)]
    said = pl.DataFrame(
        {
            "id": newest_person(events) + FIRST_PERSON_ID,
            "name": first + " " + last,
            "emailAddress": user + "@" + host + ".com",
            "creditCard": card[0] + " " + card[1] + " " + card[2] + " " + card[3],
            "city": choices(draws, size, CITIES),
            "state": choices(draws, size, STATES),
            "dateTime": config.event_time(events),
        }
    ).with_columns(pl.col("dateTime").cast(INSTANT))
    used = _ID_BYTES + length(said.select(pl.concat_str(pl.col(pl.String))).to_series())
    return said.with_columns(fillers(draws, config.seed, used, PERSON_BYTES).alias("extra"))
