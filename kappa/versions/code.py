"""A digest of a plugin's code that changes exactly when what the code says changes.

It covers the module that declares the processor and every module of the same top-level
package which that imports, directly or not. White space, comments and docstrings do not
count, and the text digested is made of syntax-tree nodes in a form of our own, because
``ast.dump`` prints the same code differently from one Python to the next.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

_POSITION_FREE = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_digest(module: str) -> str:
    """SHA-256, in hex, over the code of ``module`` and its package's modules it imports.

    Raises:
        ModuleNotFoundError: the module's source cannot be found.
    """
    digest = hashlib.sha256()
    for name, tree in sorted(_reached(module).items()):
        digest.update(f"{name}\n{canonical(tree)}\n".encode())
    return digest.hexdigest()


def canonical(node: ast.AST) -> str:
    """The syntax tree as text, without positions, docstrings and empty fields."""
    parts = []
    for name, value in sorted(ast.iter_fields(node)):
        if isinstance(node, ast.JoinedStr):
            value = _without_nothing(value)
        if name in _POSITION_FREE or value is None or value == []:
            continue
        if name == "body" and isinstance(node, _DOCUMENTED):
            value = _without_docstring(value)
        parts.append(f"{name}={_text(value)}")
    return f"{type(node).__name__}({','.join(parts)})"


def _text(value: object) -> str:
    if isinstance(value, ast.AST):
        return canonical(value)
    if isinstance(value, list):
        return f"[{','.join(_text(item) for item in value)}]"
    # Which letters ``repr`` escapes is a matter of the Unicode that a Python knows.
    return f"{type(value).__name__}:{value!a}"


def _without_nothing(values: list[ast.expr]) -> list[ast.expr]:
    """Parts of an f-string that say something: some Pythons add an empty one at its end."""
    return [part for part in values if not (isinstance(part, ast.Constant) and part.value == "")]


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    documents = (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )
    return body[1:] if documents else body


def _reached(module: str) -> dict[str, ast.Module]:
    """The syntax trees of ``module`` and all it reaches inside its top-level package."""
    root = module.partition(".")[0]
    reached: dict[str, ast.Module] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        spec = find_spec(name)
        if spec is None:
            raise ModuleNotFoundError(f"no module {name!r}", name=name)
        reached[name] = _parse(spec)
        package = spec.parent or ""
        wanted = {*_imports(reached[name], package), name.rpartition(".")[0]}
        waiting += [w for w in wanted if w.partition(".")[0] == root and _exists(w)]
    return reached


def _parse(spec: ModuleSpec) -> ast.Module:
    if spec.origin is None:  # a namespace package has no code
        return ast.Module(body=[], type_ignores=[])
    loader = spec.loader
    source = loader.get_source(spec.name) if isinstance(loader, InspectLoader) else None
    if source is None:
        raise ModuleNotFoundError(f"no source for module {spec.name!r}", name=spec.name)
    return ast.parse(source)


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Names a module may import; of ``from a import b`` both ``a`` and ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                above = above[: len(above) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _exists(module: str) -> bool:
    if not module:
        return False
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # ``a.b`` where ``a`` is a module and b a name in it
        return False
