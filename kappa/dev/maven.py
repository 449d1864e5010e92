"""Two ways to Maven Central, each an ordinary client with the configuration the user gave it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from kappa.dev.java import Java
from kappa.dev.task import Task

_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def installed() -> str | None:
    """The ``mvn`` on PATH, if there is one."""
    return shutil.which("mvn")


def copy_with_maven(
    mvn: str, java: Java, coordinates: Sequence[str], target: Path, task: Task
) -> None:
    """Lets Maven copy the jars, and nothing they depend on; ``settings.xml`` is in force.

    Raises:
        DevError: Maven failed.
    """
    project = target.with_suffix(".pom.xml")
    project.write_text(_project(coordinates))
    options = ["-DexcludeTransitive=true", f"-DoutputDirectory={target}"]
    try:
        task.run(
            [mvn, "-B", "-q", "-f", str(project), _COPY, *options],
            cwd=target,
            environment={**os.environ, "JAVA_HOME": str(java.home)},
        )
    finally:
        project.unlink(missing_ok=True)


def download(coordinates: Sequence[str], target: Path, task: Task) -> None:
    """Downloads the jars with the package ``maven-artifact``.

    Raises:
        DevError: it is not installed, or a download failed.
    """
    program = Path(__file__).with_name("download.py")
    task.run(
        [sys.executable, "-P", str(program), str(target)],
        cwd=target,
        stdin="\n".join(coordinates),
    )


def _project(coordinates: Sequence[str]) -> str:
    listed = ""
    for coordinate in coordinates:
        group, artifact, version = coordinate.split(":")
        listed += (
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
            f"<version>{version}</version></dependency>\n"
        )
    return (
        "<project><modelVersion>4.0.0</modelVersion><groupId>kappa</groupId>"
        "<artifactId>kafka-jars</artifactId><version>1</version><packaging>pom</packaging>\n"
        f"<dependencies>\n{listed}</dependencies></project>\n"
    )
