"""The three kinds of events, a topic and a schema each.

The published connectors put all three into one stream of records that have one part filled and
two empty. A topic each says the same without the empty parts, and keeps each kind's own key.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

INSTANT = pl.Datetime("ms", "UTC")

_TIMESTAMP = {"type": "long", "logicalType": "timestamp-millis"}


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of event.

    Attributes:
        name: ends the topic's name.
        key: the field that is the record key.
        schema: Avro, with the names of the published queries.
    """

    name: str
    key: str
    schema: dict[str, object]


def _record(record: str, /, **fields: object) -> dict[str, object]:
    listed = [{"name": field, "type": kind} for field, kind in fields.items()]
    return {"type": "record", "name": record, "fields": listed}


PERSON = Kind(
    "person",
    "id",
    _record(
        "Person",
        id="long",
        name="string",
        emailAddress="string",
        creditCard="string",
        city="string",
        state="string",
        dateTime=_TIMESTAMP,
        extra="string",
    ),
)
AUCTION = Kind(
    "auction",
    "id",
    _record(
        "Auction",
        id="long",
        itemName="string",
        description="string",
        initialBid="long",
        reserve="long",
        dateTime=_TIMESTAMP,
        expires=_TIMESTAMP,
        seller="long",
        category="long",
        extra="string",
    ),
)
BID = Kind(
    "bid",
    "auction",
    _record(
        "Bid",
        auction="long",
        bidder="long",
        price="long",
        channel="string",
        url="string",
        dateTime=_TIMESTAMP,
        extra="string",
    ),
)
KINDS = (PERSON, AUCTION, BID)
