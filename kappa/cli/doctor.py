"""``kappa doctor``."""

from __future__ import annotations

from collections.abc import Iterable

import typer
from rich.text import Text

from kappa import config
from kappa.cli.output import Json, emit, out
from kappa.operations.doctor.examine import examine
from kappa.operations.doctor.finding import Finding, Outcome

REFUSED = 4

_STYLES = {Outcome.OK: "green", Outcome.WARNING: "yellow", Outcome.PROBLEM: "red"}


def command(as_json: Json = False) -> None:
    """Look at the servers, the tables, the plugins and the logs, and say what is wrong.

    Changes nothing. Ends with exit code 4 if there is a problem; warnings are none.

    Example: kappa doctor
    """
    findings = examine(config.load())
    if as_json:
        made = tuple(findings)
        emit(made, as_json=True, render=lambda _: None)
    else:
        made = _render(findings)
    if any(finding.outcome is Outcome.PROBLEM for finding in made):
        raise typer.Exit(REFUSED)


def _render(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Prints each as it comes, a line each, and its hint below."""
    made = []
    for finding in findings:
        made.append(finding)
        line = Text(f"{finding.outcome.value:<8}", style=_STYLES[finding.outcome])
        out().print(line.append(f"{finding.subject}: {finding.message}", style="default"))
        if finding.hint:
            out().print(Text(f"{'':<8}hint: {finding.hint}"))
    return tuple(made)
