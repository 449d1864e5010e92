"""Copies: records published again, which name the record they repeat in a header.

``kappa-retry-of`` holds the topic's id, the partition and the offset of the original, as in
``mfpVZd2VQfWJjDAmXRnLYw/3/1042``. A copy lies in the partition of its original. With the id, a
header that was carried over into another topic (a mirror, a restored backup) names nothing there.
"""

from __future__ import annotations

HEADER = "kappa-retry-of"


def header_value(topic_id: str, partition: int, offset: int) -> bytes:
    """What a copy of the record at this place says of it."""
    return f"{topic_id}/{partition}/{offset}".encode()


def original(value: bytes | None, topic_id: str, partition: int) -> int | None:
    """The offset a header names in this partition; None if it names none here."""
    front = f"{topic_id}/{partition}/".encode()
    if value is None or not value.startswith(front):
        return None
    digits = value[len(front) :]
    return int(digits) if digits.isdigit() and len(digits) <= _LONGEST else None


_LONGEST = 19
"""Digits of the largest offset."""
