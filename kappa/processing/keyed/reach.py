"""What a processor's handlers may use, as far as their code tells without being run."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from contextlib import suppress
from types import CodeType, FunctionType


def names_used(cls: type, *methods: str) -> frozenset[str]:
    """The names that these methods use, and what they call of their class and their module.

    Code that is never reached counts too; what is called by a name put together at run time, or
    by another module, does not.
    """
    found: set[str] = set()
    seen: set[FunctionType] = set()
    waiting = [function for name in methods for function in _of_class(cls, name)]
    while waiting:
        function = waiting.pop()
        if function in seen:
            continue
        seen.add(function)
        names = set(_names(function.__code__))
        found |= {name for name, _ in names}
        waiting += _wrapped(function)
        for name, is_global in names:
            if is_global:
                waiting += _of_module(function, name)
            else:
                waiting += _of_class(cls, name, with_bases=("super", True) in names)
    return frozenset(found)


def _names(code: CodeType) -> Iterator[tuple[str, bool]]:
    """The attributes, and (true) the globals, of a function and of those defined inside it."""
    for step in dis.get_instructions(code):
        if step.opcode in dis.hasname:
            yield str(step.argval), step.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _of_class(cls: type, name: str, *, with_bases: bool = False) -> list[FunctionType]:
    """The class's method of this name; with those it overrides, if it may call them."""
    defined = [vars(base)[name] for base in cls.__mro__ if name in vars(base)]
    return [f for one in (defined if with_bases else defined[:1]) for f in _functions(one)]


def _of_module(function: FunctionType, name: str) -> list[FunctionType]:
    """The function of this name, where it is defined in the same module."""
    other = function.__globals__.get(name)
    if isinstance(other, FunctionType) and other.__module__ == function.__module__:
        return [other]
    return []


def _wrapped(function: FunctionType) -> list[FunctionType]:
    """What a decorator has wrapped in it."""
    held: list[object] = []
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # a variable that nothing was assigned to
            held.append(cell.cell_contents)
    return [value for value in held if isinstance(value, FunctionType)]


def _functions(value: object) -> list[FunctionType]:
    match value:
        case FunctionType():
            return [value]
        case staticmethod() | classmethod():
            return _functions(value.__func__)
        case property():
            return _functions(value.fget)
    return []
