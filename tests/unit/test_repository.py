"""The repository keeps its own promises: pins, reasons, import rules, no trace of a machine."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
TEXT = {".py", ".toml", ".md", ".txt", ".ini", ".cfg", ".avsc", ".sql", ".yml", ".yaml", ""}
BUILT = {".git", ".venv", ".kappa", ".demo", ".hypothesis", "build", "dist", "node_modules"}


def declared() -> dict[str, Requirement]:
    """Every direct dependency, those of the extras included, by canonical name."""
    lines = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


def locked(file: Path) -> dict[str, Version]:
    pins = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)", file.read_text(), re.M)
    return {canonicalize_name(name): Version(version) for name, version in pins}


def documented() -> dict[str, str]:
    """Package → range, from the tables of docs/dependencies.md; every row has a reason."""
    rows = re.findall(
        r"^\| `([^`]+)` \| `([^`]+)` \| (\S.{15,}) \|$",
        (ROOT / "docs" / "dependencies.md").read_text(),
        re.M,
    )
    return {canonicalize_name(name.partition("[")[0]): span for name, span, _ in rows}


def our_files() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = any(p in BUILT or p.endswith("_cache") or p == "__pycache__" for p in parts)
        if not hidden and path.is_file() and path.suffix in TEXT and path.name != ".coverage":
            yield path


def modules(package: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def test_every_dependency_has_a_tested_range_and_a_reason() -> None:
    spans = {name: str(requirement.specifier) for name, requirement in declared().items()}
    normal = {name: str(Requirement(f"x{span}").specifier) for name, span in documented().items()}
    assert normal == spans
    for name, requirement in declared().items():
        operators = {clause.operator for clause in requirement.specifier}
        assert operators in ({">=", "<"}, {"=="}), f"{name} has no closed range"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_the_lock_pins_within_the_ranges_with_hashes_and_names_no_host(lock: Path) -> None:
    text = lock.read_text()
    pins = locked(lock)
    needed = [*PROJECT["dependencies"], *EXTRAS[lock.stem]]
    for requirement in map(Requirement, needed):
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier
    entries = re.split(r"\n(?=[A-Za-z0-9])", text)[1:]
    assert len(entries) == len(pins)
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"https?:|--index|--find-links|--trusted|file:|@ ", text)


def test_both_locks_agree() -> None:
    dev, demo = locked(ROOT / "requirements/dev.txt"), locked(ROOT / "requirements/demo.txt")
    assert {name: dev[name] for name in dev.keys() & demo.keys()} == {
        name: demo[name] for name in dev.keys() & demo.keys()
    }


def test_what_kappa_imports_is_declared() -> None:
    runtime = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    providers = packages_distributions()
    for file, tree in modules("kappa"):
        for module in _imported(tree) - set(sys.stdlib_module_names) - {"kappa"}:
            owners = {canonicalize_name(owner) for owner in providers.get(module, [])}
            assert owners & runtime, f"{file} imports {module}, which no dependency provides"


def test_no_file_knows_a_machine() -> None:
    """No home or scratch directory, and no package index or mirror, is written down anywhere."""
    machine = re.compile(
        r"(?<![\w.$}])/(?:work|home(?!/me\b)|Users|root|opt|tmp|private/var)/[\w.-]+"
        r"|--(?:extra-)?index-url[= ]\S|\bindex-url *=|\bfind-links *=|PIP_(?:INDEX|FIND)"
    )
    own = Path(__file__).resolve()
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in our_files()
        if path.resolve() != own
        for match in machine.finditer(path.read_text())
    ]
    assert not found


def test_pure_packages_ask_no_clock() -> None:
    """``datetime`` may be imported for its types; asking it the time may not."""
    for package in ("kappa/eventtime", "kappa/processing"):
        for file, tree in modules(package):
            asked = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
            assert not asked & {"now", "utcnow", "today", "fromtimestamp"}, file


def test_import_rules_hold_and_catch_what_they_forbid(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "kappa", tmp_path / "kappa")
    shutil.copy(ROOT / ".importlinter", tmp_path)
    assert "0 broken" in _lint_imports(tmp_path)
    (tmp_path / "kappa/eventtime/clock.py").write_text("import time\n")
    (tmp_path / "kappa/cli/shortcut.py").write_text("import kappa.log.records\n")
    (tmp_path / "kappa/tables/upward.py").write_text("import kappa.operations\n")
    (tmp_path / "kappa/extra").mkdir()
    (tmp_path / "kappa/extra/__init__.py").touch()
    report = _lint_imports(tmp_path)
    for rule in ("Event time and processing are pure", "Commands parse", "Lower never imports"):
        assert re.search(rf"^{rule}.* BROKEN$", report, re.M), report
    assert "kappa.extra" in report


def test_continuous_integration_runs_the_test_command_of_the_readme() -> None:
    commands = [
        line
        for line in (ROOT / ".ci/run").read_text().splitlines()
        if line and not line.startswith(("#", "set ", "cd "))
    ]
    assert commands == ["make test"]
    assert "make test" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("target", ["setup", "demo", "test", "check", "bench", "clean"])
def test_make_knows_the_target(target: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_make_names_what_is_missing(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    done = subprocess.run(
        ["make", "CANDIDATES=false", ".venv/bin/python"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "kappa needs Python 3.11 or newer" in done.stderr


def _imported(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.partition(".")[0])
    return names


def _lint_imports(directory: Path) -> str:
    command = "import sys; from importlinter.cli import lint_imports_command; "
    done = subprocess.run(
        [sys.executable, "-c", command + "sys.exit(lint_imports_command())", "--no-cache"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr
