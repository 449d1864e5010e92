"""A version's fingerprint changes with what its code says, and with nothing else."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kappa.errors import PluginLoadError
from kappa.versions import code
from kappa.versions.code import canonical, code_digest
from kappa.versions.identity import fingerprint

MAIN = '''"""Docs."""
from shop import rates
from .deep import tool as t

def total(x):
    """More docs."""
    return x * rates.RATE + t.one
'''

RICH = r'''"""Docs."""
from __future__ import annotations
from typing import Generic, TypeVar

T = TypeVar("T")

class Shown(Generic[T], metaclass=type):
    """Docs."""
    width: int | None = None
    marks: list[str | bytes] = ["é", "\U0001fae8", b"\xff", u"k"]
    numbers = 1.5e300, 10**30, 3j, -0.0, 0xFFFFFFFFFFFFFFFFFFFF, ..., True

    @property
    def shown(self, a, /, b=1, *c, d, e=2, **f) -> int | str:
        """More docs."""
        return lambda x, *y, z=1: (x, y, z)

    @staticmethod
    async def read(source):
        async with source as one, source:
            async for item in source:
                await item
        return [item async for item in source if await item]

def texts(x, w, n):
    plain = f"{x}", f"", f"a{{b}}c{x}}}", f"{x=}", "a" f"{x}" "b" "", f"\N{EM DASH}{x}", f"{x,}"
    spec = f"{x:}", f"{x:>8}", f"{x:%H:%M}", f"{x = !s:>{w}}", rf"\d{x:\d{w}}"
    nested = f"{x:>{w}}", f"{x:{w}.{n}}", f"{x!r:{w}}", f"{x:a{w}b{n}c}", f"{f'{x:>{w}}':<{n}}"
    return plain, spec, nested, f"{(lambda a: a)(x)!a}", f"{ {1: 2}[x] }{(m := x)}"

def told(x, w):
    match x:
        case None | True:
            pass
        case {"a": [1, *rest], **others} if (m := rest):
            pass
        case Shown(width=-2.5) as whole:
            return whole
        case [1 + 2j, _, *_] | str() | "lit":
            pass
    try:
        with (open(x) as first, open(w)):
            x[1:2, ::3, ...] = first
    except* (ValueError, TypeError) as error:
        raise error from None
    yield (yield from x)
    for i, *j in x:
        i += 1 < x <= 2
    return {**w, 1: 2}, {1, *w}, {k: v for k, v in x if k}, (i for i in x), not -x @ w // i ** 2
'''
RICH_DIGEST = "46c1349362cca757465717d15221b09c6a89f3d31e4e9dd7a242d170dff1170a"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package ``shop`` whose module ``main`` imports two others of it."""
    root = tmp_path / "shop"
    (root / "deep").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "main.py").write_text(MAIN)
    (root / "rates.py").write_text("import json\nRATE = 2\n")
    (root / "unused.py").write_text("X = 1\n")
    (root / "deep" / "__init__.py").write_text("")
    (root / "deep" / "tool.py").write_text("one = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        monkeypatch.delitem(sys.modules, name)
    return root


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("main.py", MAIN.replace("Docs.", "Other docs.").replace("x * ", "x  *  # times\n    ")),
        ("main.py", MAIN.replace('    """More docs."""\n', "\n\n")),
        ("unused.py", "X = 2\n"),
        ("rates.py", "# a comment\nimport json\n\n\nRATE = (2)\n"),
    ],
)
def test_space_comments_docstrings_and_unused_modules_do_not_count(
    shop: Path, file: str, text: str
) -> None:
    before = code_digest("shop.main")
    (shop / file).write_text(text.replace("x  *  # times\n    ", "x  *  "))
    assert code_digest("shop.main") == before


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("main.py", MAIN.replace("x * rates", "x + rates")),
        ("rates.py", "import json\nRATE = 3\n"),
        ("rates.py", "import json\nRATE = 2.0\n"),
        ("deep/tool.py", "one = 2\n"),
        ("__init__.py", "import sys\n"),
    ],
)
def test_what_the_code_says_counts_wherever_it_is_imported(
    shop: Path, file: str, text: str
) -> None:
    before = code_digest("shop.main")
    (shop / file).write_text(text)
    assert code_digest("shop.main") != before


def test_the_fingerprint_tells_versions_and_objects_apart(shop: Path) -> None:
    prints = {
        fingerprint("a", 1, "shop.main:x"),
        fingerprint("a", 2, "shop.main:x"),
        fingerprint("b", 1, "shop.main:x"),
        fingerprint("a", 1, "shop.main:y"),
    }
    assert len(prints) == 4


def test_a_module_without_source_is_refused() -> None:
    with pytest.raises(PluginLoadError, match="cannot be read"):
        fingerprint("a", 1, "no_such_module_anywhere:x")


@pytest.fixture
def rich(shop: Path) -> str:
    """A module that says something of every kind, f-strings above all."""
    (shop / "rich.py").write_text(RICH, encoding="utf-8")
    return "shop.rich"


def test_the_digest_is_the_same_for_ever(rich: str) -> None:
    assert code_digest(rich) == RICH_DIGEST


def test_an_empty_part_of_an_f_string_that_some_pythons_add_does_not_count() -> None:
    spec = ast.JoinedStr([ast.Constant(">"), ast.FormattedValue(ast.Name("w"), -1)])
    padded = ast.JoinedStr([*spec.values, ast.Constant("")])
    assert canonical(padded) == canonical(spec)


@pytest.mark.parametrize("python", ["python3.12", "python3.13", "python3.14"])
def test_every_python_computes_the_same_digest(shop: Path, rich: str, python: str) -> None:
    found = shutil.which(python)
    runs = found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0
    if not runs:
        pytest.skip(f"{python} is not on this machine")
    assert found is not None
    assert code.__file__ is not None
    source = Path(code.__file__).read_text()
    source = source.replace("from __future__ import annotations", "")
    path = f"import sys\nsys.path.insert(0, {str(shop.parent)!r})"
    script = f"{path}\n{source}\nprint(code_digest({rich!r}))"
    run = subprocess.run([found, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == RICH_DIGEST
