"""A version's fingerprint changes with what its code says, and with nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kappa.errors import PluginLoadError
from kappa.versions import code
from kappa.versions.code import code_digest
from kappa.versions.identity import fingerprint

MAIN = '''"""Docs."""
from shop import rates
from .deep import tool as t

def total(x):
    """More docs."""
    return x * rates.RATE + t.one
'''


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


@pytest.mark.parametrize("python", ["python3.12", "python3.13"])
def test_every_python_computes_the_same_digest(shop: Path, python: str) -> None:
    found = shutil.which(python)
    runs = found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0
    if not runs:
        pytest.skip(f"{python} is not on this machine")
    assert found is not None
    assert code.__file__ is not None
    source = Path(code.__file__).read_text()
    source = source.replace("from __future__ import annotations", "")
    path = f"import sys\nsys.path.insert(0, {str(shop.parent)!r})"
    script = f"{path}\n{source}\nprint(code_digest('shop.main'))"
    run = subprocess.run([found, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == code_digest("shop.main")
