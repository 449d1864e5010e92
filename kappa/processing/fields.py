"""The fields of a declaration: whether all are there, and of the types they must be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kappa.errors import DeclarationError


@dataclass(frozen=True, slots=True)
class Field:
    """A field of one kind of processor.

    Attributes:
        name: the attribute.
        types: what its value may be. Text counts as no sequence and a boolean as no number, though
            for Python they are.
        example: how it is written.
    """

    name: str
    types: tuple[type, ...]
    example: str


NO_VALUE = type(None)
"""The type of fields that may be left at None."""


def called(declaration: object) -> str:
    """What an error calls a processor: its name and version, or its class if it has no name."""
    name = getattr(declaration, "name", None) or type(declaration).__name__
    return f"{name} version {getattr(declaration, 'version', None)}"


def check_fields(declaration: object, fields: Sequence[Field], *, place: str = "") -> None:
    """Whether a declaration has all these fields, of the right types.

    ``place`` says behind an example where it is to be written.

    Raises:
        DeclarationError: it has not.
    """
    for field in fields:
        value = getattr(declaration, field.name, None)
        if _is_missing(value, field.types):
            problem = f" declares no {field.name}"
        elif _is_other(value, field.types):
            problem = f": {field.name} is {described(value)}"
        else:
            continue
        raise DeclarationError(called(declaration) + problem, hint=f"write {field.example}{place}")


def described(value: object) -> str:
    """What kind of thing stands where another should."""
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


def _is_missing(value: object, types: tuple[type, ...]) -> bool:
    return (value is None and NO_VALUE not in types) or (type(value) in (str, int) and not value)


def _is_other(value: object, types: tuple[type, ...]) -> bool:
    confused = (isinstance(value, str | bytes) and str not in types) or isinstance(value, bool)
    return confused or not isinstance(value, types)
