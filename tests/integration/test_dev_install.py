"""How Java and the jars of Kafka are come by, on machines that have less than this one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest
from confluent_kafka.admin import AdminClient

from kappa.dev import jars, java, lifecycle
from kappa.dev.instance import Instance
from kappa.dev.kafka import Kafka
from kappa.dev.ports import LOOPBACK, choose
from kappa.dev.task import Cancelled, Task
from kappa.errors import DevError


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def task(reports: list[str]) -> Task:
    return Task(report=reports.append, cancelled=Event())


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one directory on PATH: it holds neither ``java`` nor ``mvn``."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return directory


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends every request to a proxy that is not there."""
    nowhere = f"http://{LOOPBACK}:{choose(['proxy'], {})['proxy']}"
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, nowhere)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def use_cache(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """Makes a directory the user's cache."""

    def use(directory: Path) -> Path:
        monkeypatch.setattr(jars, "cache_directory", lambda: directory)
        return directory

    return use


@pytest.fixture
def copying_mvn(bare_path: Path, task: Task, use_cache: Callable[[Path], Path]) -> Path:
    """A ``mvn`` that copies the real jars and writes a line per run into the returned file."""
    real = jars.provide(java.find(os.environ), task)
    runs = bare_path.parent / "runs"
    cp = shutil.which("cp", path=os.defpath)
    script = f"""#!/bin/sh
echo run >> '{runs}'
for argument; do case $argument in -DoutputDirectory=*) target=${{argument#*=}};; esac; done
{cp} '{real}'/* "$target"
"""
    _program(bare_path / "mvn", script)
    return runs


def _program(path: Path, script: str) -> None:
    path.write_text(script)
    path.chmod(0o755)


def test_kafka_runs_where_neither_java_nor_maven_is_installed(
    tmp_path: Path,
    bare_path: Path,
    task: Task,
    use_cache: Callable[[Path], Path],
    pytestconfig: pytest.Config,
) -> None:
    # Fetched for real the first time; kept for the next run in pytest's own cache.
    use_cache(Path(pytestconfig.cache.mkdir("kappa-jars")))
    kafka = Kafka(tmp_path / "kafka")
    assert java.BUNDLED in java.find(os.environ).executable.parts
    try:
        assert lifecycle.start(kafka, task)
        instance = Instance.read(kafka.home)
        assert instance is not None
        admin = AdminClient({"bootstrap.servers": kafka.endpoint(instance.ports)})
        assert len(admin.list_topics(timeout=10).brokers) == 1
    finally:
        lifecycle.stop(kafka)


@pytest.mark.usefixtures("bare_path", "no_network")
def test_without_a_network_the_error_says_what_was_tried_and_what_to_do(
    tmp_path: Path, task: Task, use_cache: Callable[[Path], Path]
) -> None:
    cache = use_cache(tmp_path / "cache")
    with pytest.raises(DevError) as caught:
        jars.provide(java.find(os.environ), task)
    assert "maven-artifact" in str(caught.value.detail["tried"])
    assert "KAPPA_KAFKA__BOOTSTRAP_SERVERS" in caught.value.hint
    assert [path.name for path in cache.iterdir()] == ["fetch.lock"]


@pytest.mark.usefixtures("no_network")
def test_jars_with_another_hash_are_refused(
    tmp_path: Path, bare_path: Path, task: Task, use_cache: Callable[[Path], Path]
) -> None:
    cache = use_cache(tmp_path / "cache")
    name = jars.pinned()[0].name
    _program(
        bare_path / "mvn",
        "#!/bin/sh\n"
        'for argument; do case "$argument" in\n'
        f'-DoutputDirectory=*) echo other > "${{argument#*=}}/{name}";;\n'
        "esac; done\n",
    )
    with pytest.raises(DevError) as caught:
        jars.provide(java.find(os.environ), task)
    assert f"{name} has another hash" in str(caught.value.detail["tried"])
    assert [path.name for path in cache.iterdir()] == ["fetch.lock"]


def test_two_at_once_fetch_once(tmp_path: Path, copying_mvn: Path) -> None:
    code = (
        "import os, pathlib, sys, threading\n"
        "from kappa.dev import jars, java\n"
        "from kappa.dev.task import Task\n"
        "jars.cache_directory = lambda: pathlib.Path(sys.argv[1])\n"
        "task = Task(lambda message: None, threading.Event())\n"
        "print(jars.provide(java.find(os.environ), task))\n"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "cache")], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    first, second = (process.communicate(timeout=120)[0].strip() for process in both)
    assert first == second
    assert jars.differences(Path(first), jars.pinned()) == []
    assert copying_mvn.read_text() == "run\n"


def test_a_damaged_cache_is_fetched_again_and_what_a_killed_fetch_left_is_removed(
    tmp_path: Path, copying_mvn: Path, task: Task, use_cache: Callable[[Path], Path]
) -> None:
    cache = use_cache(tmp_path / "cache")
    directory = jars.provide(java.find(os.environ), task)
    (directory / jars.pinned()[0].name).write_bytes(b"damaged")
    (cache / ".fetching-killed" / "jars").mkdir(parents=True)
    assert jars.provide(java.find(os.environ), task) == directory
    assert jars.differences(directory, jars.pinned()) == []
    assert sorted(path.name for path in cache.iterdir()) == ["fetch.lock", directory.name]


def test_an_interrupted_fetch_leaves_nothing(
    tmp_path: Path, bare_path: Path, use_cache: Callable[[Path], Path]
) -> None:
    cache = use_cache(tmp_path / "cache")
    sleep = shutil.which("sleep", path=os.defpath)
    _program(bare_path / "mvn", f"#!/bin/sh\nexec {sleep} 600\n")
    cancelled = Event()
    # The report that the fetch begins is the moment of the interrupt.
    task = Task(report=lambda message: cancelled.set(), cancelled=cancelled)
    with pytest.raises(Cancelled):
        jars.provide(java.find(os.environ), task)
    assert [path.name for path in cache.iterdir()] == ["fetch.lock"]
