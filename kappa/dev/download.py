"""Fetches jars with the package ``maven-artifact``. Run as a program of its own, by file name.

    python -P download.py DIRECTORY < coordinates

A process can be ended in the middle of a download, a thread cannot; and nobody who already has
the jars, or a Kafka of their own, pays for the import. It therefore imports nothing of kappa.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from maven_artifact import Artifact, Downloader, RequestException

_PARALLEL = 8
_TRIES = 3
_TIMEOUT_S = 30


def main() -> int:
    directory = Path(sys.argv[1])
    coordinates = sys.stdin.read().split()
    with ThreadPoolExecutor(_PARALLEL) as pool:
        try:
            for _ in pool.map(lambda each: _fetch(each, directory), coordinates):
                pass
        except RequestException as error:
            pool.shutdown(cancel_futures=True)
            sys.stderr.write(f"{error.msg}\n")
            return 1
    return 0


def _fetch(coordinate: str, directory: Path) -> None:
    artifact = Artifact.parse(coordinate)
    client = Downloader()
    url = client.resolver.uri_for_artifact(artifact)
    for attempt in range(1, _TRIES + 1):
        try:
            response = client.requestor.request(url, _fail, timeout=_TIMEOUT_S)
        except RequestException:
            if attempt == _TRIES:
                raise
        else:
            name = f"{artifact.artifact_id}-{artifact.version}.jar"
            (directory / name).write_bytes(response.content)
            return


def _fail(url: str, error: Exception) -> None:
    raise RequestException(f"{url}: {error}")


if __name__ == "__main__":
    sys.exit(main())
