"""Taking secrets out of what is logged, wherever in an event they stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

HIDDEN = "***"

_SECRET_NAME = re.compile(r"passw|passphrase|secret|token|credential|api_?key", re.IGNORECASE)
_NAMES = r"[\w.-]*(?:password|passwd|passphrase|secret|token|api_?key)[\w.-]*"

_PATTERNS = (
    # user:password@ of a URL; the password reaches to the last @, for it may hold one itself
    re.compile(r"(?P<keep>\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s]*(?=@)", re.IGNORECASE),
    # "password": "…", password='…', in JSON, reprs and libpq's connection strings
    re.compile(rf"(?P<keep>{_NAMES}[\"']?\s*[=:]\s*([\"']))(?:\\.|(?!\2).)*", re.I | re.S),
    # ?password=… of a URL, password=… of a command line
    re.compile(rf"(?P<keep>{_NAMES}=)[^\s&\"']+", re.IGNORECASE),
    re.compile(r"(?P<keep>\bauthorization:\s*(?:basic|bearer)\s+)\S+", re.IGNORECASE),
)


def redact_text(text: str) -> str:
    """The text without passwords in URLs, connection strings and ``name=value`` pairs."""
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<keep>{HIDDEN}", text)
    return text


def redact(value: object) -> Any:
    """The value made of plain types only, without secrets.

    What stands under a name like ``password``, ``secret`` or ``token`` is hidden whole, and so is
    a ``SecretStr``. Objects of other types become their redacted text.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, Mapping):
        return {
            redact_text(str(name)): HIDDEN if _SECRET_NAME.search(str(name)) else redact(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    if isinstance(value, BaseException):
        return redact_text(f"{type(value).__name__}: {value}")
    return redact_text(str(value))
