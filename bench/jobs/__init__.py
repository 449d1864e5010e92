"""The jobs that are measured, each by kappa and by hand."""

from __future__ import annotations

from collections.abc import Mapping

from bench.jobs import fraud, hopping, sessions, tumbling
from bench.jobs.job import Job

JOBS: Mapping[str, Job] = {
    "tumbling": tumbling.JOB,
    "hopping": hopping.JOB,
    "sessions": sessions.JOB,
    "fraud": fraud.JOB,
}
