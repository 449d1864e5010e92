"""The jars of Kafka in the user's cache: fetched once, checked against pinned hashes."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import fasteners
import platformdirs

from kappa.dev import files, maven
from kappa.dev.java import Java
from kappa.dev.task import Task
from kappa.errors import DevError

KAFKA_VERSION = "4.4.0"

_PARTIAL = ".fetching-"


@dataclass(frozen=True)
class Jar:
    """One pinned jar: its hash, and its path in a Maven repository."""

    sha256: str
    path: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def coordinate(self) -> str:
        *group, artifact, version, _ = self.path.split("/")
        return f"{'.'.join(group)}:{artifact}:{version}"


def pinned() -> tuple[Jar, ...]:
    """What ``kafka-jars.sha256`` lists; ``sha256sum -c`` reads it in a Maven repository."""
    lines = resources.files("kappa.dev").joinpath("kafka-jars.sha256").read_text().splitlines()
    return tuple(Jar(*line.split()) for line in lines)


def cache_directory() -> Path:
    """The user's cache for kappa (``XDG_CACHE_HOME`` moves it on Linux)."""
    return platformdirs.user_cache_path("kappa")


def provide(java: Java, task: Task) -> Path:
    """The directory with the pinned jars, which are fetched if need be.

    Raises:
        DevError: they are not there and cannot be fetched; it says what was tried.
    """
    jars = pinned()
    every = "".join(jar.sha256 for jar in jars)
    pin = hashlib.sha256(every.encode()).hexdigest()[:8]
    cache = cache_directory()
    directory = cache / f"kafka-{KAFKA_VERSION}-{pin}"
    if differences(directory, jars):
        cache.mkdir(parents=True, exist_ok=True)
        with _lock(cache / "fetch.lock", task):
            if differences(directory, jars):
                _fetch(directory, jars, java, task)
    return directory


def differences(directory: Path, jars: tuple[Jar, ...]) -> list[str]:
    """What keeps the directory from holding exactly these jars; empty when it does."""
    found = {path.name: path for path in directory.iterdir()} if directory.is_dir() else {}
    problems = [f"{name} is not pinned" for name in found.keys() - {jar.name for jar in jars}]
    for jar in jars:
        if jar.name not in found:
            problems.append(f"{jar.name} is missing")
        elif hashlib.sha256(found[jar.name].read_bytes()).hexdigest() != jar.sha256:
            problems.append(f"{jar.name} has another hash")
    return sorted(problems)


def _fetch(directory: Path, jars: tuple[Jar, ...], java: Java, task: Task) -> None:
    for leftover in directory.parent.glob(f"{_PARTIAL}*"):  # of a fetch that was killed
        files.remove(leftover)
    failures: list[str] = []
    for name, source in _sources(jars, java, task):
        task.report(f"kafka: fetching {len(jars)} jars of Kafka {KAFKA_VERSION} with {name}")
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix=_PARTIAL) as partial:
            # The jars go one level down, so that renaming them away leaves their parent in place.
            target = Path(partial) / "jars"
            target.mkdir()
            try:
                source(target)
            except DevError as error:
                failures.append(f"{name}: {error}")
                continue
            if problems := differences(target, jars):
                failures.append(f"{name}: {'; '.join(problems)}")
                continue
            files.remove(directory)
            target.rename(directory)
            return
    raise DevError(
        f"the jars of Kafka {KAFKA_VERSION} cannot be fetched",
        tried=" | ".join(failures),
        hint="check the network and the proxy, or use a Kafka that runs already: "
        "set KAPPA_KAFKA__BOOTSTRAP_SERVERS=host:port",
    )


def _sources(
    jars: tuple[Jar, ...], java: Java, task: Task
) -> Iterator[tuple[str, Callable[[Path], None]]]:
    coordinates = [jar.coordinate for jar in jars]
    if mvn := maven.installed():
        yield (
            f"Maven ({mvn})",
            lambda target: maven.copy_with_maven(mvn, java, coordinates, target, task),
        )
    yield "maven-artifact", lambda target: maven.download(coordinates, target, task)


@contextmanager
def _lock(file: Path, task: Task) -> Iterator[None]:
    lock = fasteners.InterProcessLock(file)
    while not lock.acquire(blocking=False):
        task.pause()
    try:
        yield
    finally:
        lock.release()
