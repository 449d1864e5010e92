"""Numbers of JSON with all the digits they are written with, where a double would lose some."""

from __future__ import annotations

import json
from typing import Any


class Written(float):
    """A number with a point or an exponent as it stands in JSON; ``text`` has its digits."""

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> Written:
        number = super().__new__(cls, text)
        number.text = text
        return number


def with_digits(text: str, otherwise: Any) -> Any:
    """What a JSON text stands for, such numbers in it as Written.

    It is valid JSON, as a stricter parser has found. ``otherwise`` where it nests too deep for
    this one, which is too deep for any schema.
    """
    try:
        return json.loads(text, parse_float=Written)
    except RecursionError:
        return otherwise
