"""The documentation is run: every command, every snippet, and the story of the README.

A fenced block says by its language what happens to it here: lines of ``console`` that begin
with ``$`` are run in order, ``python`` is executed, ``toml`` and ``json`` are parsed. Blocks
without a language (diagrams, templates, other people's tools) are only read.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from confluent_kafka.admin import AdminClient
from typer.main import get_command
from typer.testing import CliRunner

from kappa.cli.app import app
from tests.conftest import Stack
from tests.orders import CORRECTED, SCHEMA, json_lines, orders

ROOT = Path(__file__).parents[2]
DOCS = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(file: Path, language: str) -> list[str]:
    return [code for found, code in BLOCK.findall(file.read_text()) if found == language]


def named(files: list[Path], language: str) -> list[Path]:
    return [file for file in files if blocks(file, language)]


def identify(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("file", named(DOCS, "python"), ids=identify)
def test_python_snippets_run(file: Path) -> None:
    for code in blocks(file, "python"):
        exec(compile(code, identify(file), "exec"), {})


@pytest.mark.parametrize("file", [*named(DOCS, "toml"), *named(DOCS, "json")], ids=identify)
def test_configuration_snippets_parse(file: Path) -> None:
    for code in blocks(file, "toml"):
        tomllib.loads(code)
    for code in blocks(file, "json"):
        json.loads(code)


STORY = ROOT / "README.md"
OWN_SERVERS = ROOT / "docs" / "development-stack.md"


@pytest.mark.parametrize(
    "file", [f for f in named(DOCS, "console") if f not in (STORY, OWN_SERVERS)], ids=identify
)
def test_commands_run(
    file: Path,
    environment: dict[str, str],
    plugin: Callable[[str, str], None],
    stack: Stack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In this process: most of what a command takes is the start of a process of its own."""
    monkeypatch.chdir(tmp_path)
    for name in environment.keys() - os.environ.keys() | {"KAPPA_POSTGRES__URL", "PYTHONPATH"}:
        monkeypatch.setenv(name, environment[name])
    forget_topics(stack, "orders", "customers")
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "order.avsc").write_text(json.dumps(SCHEMA))
    (tmp_path / "orders.jsonl").write_text(json_lines(orders(50, seed=2)))
    plugin("shop", CORRECTED.format(name="revenue", topic="orders"))
    commands = [line[2:] for code in blocks(file, "console") for line in code.splitlines()
                if line.startswith("$ kappa ")]  # fmt: skip
    made = any(command.startswith("kappa topics create orders") for command in commands)
    for command in [*prelude(made), *commands]:
        done = CliRunner().invoke(app, shlex.split(command)[1:], prog_name="kappa")
        assert done.exit_code == 0, f"{command}: {done.output}{done.exception!r}"
    forget_topics(stack, "orders", "customers")


def prelude(made: bool) -> list[str]:
    """What stands before a page's commands: migrated tables, and a topic if it makes none."""
    create = "kappa topics create orders --schema schemas/order.avsc --key customer"
    rest = [] if made else [create, "kappa produce orders orders.jsonl"]
    return ["kappa db upgrade", *rest]


def forget_topics(stack: Stack, *topics: str) -> None:
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    there = [topic for topic in topics if topic in admin.list_topics(timeout=10).topics]
    for future in admin.delete_topics(there).values() if there else ():
        future.result()
    while any(topic in admin.list_topics(timeout=10).topics for topic in topics):
        pass


def paths(command: typer.core.TyperGroup, prefix: str = "kappa") -> Iterator[str]:
    for name in command.list_commands(None):
        child = command.get_command(None, name)
        if isinstance(child, typer.core.TyperGroup):
            yield from paths(child, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}"


def test_every_command_is_documented_and_shows_an_example() -> None:
    reference = (ROOT / "docs" / "commands.md").read_text()
    root = get_command(app)
    assert isinstance(root, typer.core.TyperGroup)
    found = list(paths(root))
    assert len(found) > 15
    for path in found:
        group, _, name = path.rpartition(" ")
        rows = [row for row in reference.splitlines() if f"`{group} " in row]
        assert any(f"`{path}" in row or f"`{name}`" in row for row in rows), f"{path} is missing"
        shown = CliRunner().invoke(app, [*path.split()[1:], "--help"], prog_name="kappa")
        assert f"Example: {path}" in shown.output, f"{path} --help has no example"


def test_the_story_of_the_readme_is_what_the_demo_prints() -> None:
    demo = subprocess.run(
        [sys.executable, "processors/demo.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert demo.returncode == 0, demo.stderr
    printed = {shape(line) for line in demo.stdout.splitlines()}
    (story,) = blocks(STORY, "console")
    for line in story.splitlines():
        assert shape(line) in printed, f"the demo does not print {line!r}"


def shape(line: str) -> str:
    """A line without its figures, which differ from run to run, and without its spacing."""
    return re.sub(r"\s+", " ", re.sub(r"[-\d][\d,.:+]*", "0", line)).strip()


@pytest.mark.parametrize("file", DOCS, ids=identify)
def test_links_lead_somewhere(file: Path) -> None:
    prose = re.sub(r"`[^`]*`", "", file.read_text())
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", prose):
        assert (file.parent / target).exists(), f"{identify(file)} links to {target}"
