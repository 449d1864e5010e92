"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from kappa.errors import KappaError


class Outcome(Enum):
    """How bad it is. A problem keeps something from working or from being right."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was looked at, how it is, and what to do about it."""

    subject: str
    outcome: Outcome
    message: str
    hint: str = ""


def ok(subject: str, message: str) -> Finding:
    return Finding(subject, Outcome.OK, message)


def warning(subject: str, message: str, hint: str) -> Finding:
    return Finding(subject, Outcome.WARNING, message, hint)


def problem(subject: str, error: KappaError) -> Finding:
    """An error as a finding."""
    return Finding(subject, Outcome.PROBLEM, str(error), error.hint)
