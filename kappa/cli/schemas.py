"""``kappa schemas``: the Avro schemas of a topic's values, version by version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from kappa import config
from kappa.cli.output import Json, emit, err, out, table
from kappa.operations import schemas as operations
from kappa.operations.schemas import (
    CheckedSchema,
    ListedSubject,
    RegisteredSchema,
    ShownSchema,
)

app = typer.Typer(
    name="schemas",
    help="Avro schemas of topics, and which changes of them history allows.",
    no_args_is_help=True,
    add_completion=False,
)

Topic = Annotated[str, typer.Argument(help="The topic.", metavar="TOPIC")]
File = Annotated[Path, typer.Argument(help="An Avro schema as JSON.", metavar="FILE")]
Subject = Annotated[
    str | None,
    typer.Option("--subject", metavar="NAME", help="Another subject than TOPIC-value."),
]


@app.command(epilog="Example: kappa schemas register orders schemas/order.avsc")
def register(topic: Topic, file: File, subject: Subject = None, as_json: Json = False) -> None:
    """Add a version of a topic's schema, if all its history can be read with it.

    A schema that is registered already stays as it is: the command can be run again.
    """
    result = operations.register(config.load(), topic, file, subject=subject)
    emit(result, as_json=as_json, render=_render_registered)


@app.command("list", epilog="Example: kappa schemas list --json")
def list_(as_json: Json = False) -> None:
    """List the subjects and their newest versions."""
    emit(operations.list_all(config.load()), as_json=as_json, render=_render_list)


@app.command(epilog="Example: kappa schemas show orders --version 1")
def show(
    topic: Topic,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Which one; the newest by default.")
    ] = None,
    subject: Subject = None,
    as_json: Json = False,
) -> None:
    """Show one version of a topic's schema.

    The schema goes to standard output and the rest to standard error, so that
    'kappa schemas show orders > order.avsc' writes a schema file.
    """
    result = operations.show(config.load(), topic, version=version, subject=subject)
    emit(result, as_json=as_json, render=_render_shown)


@app.command(epilog="Example: kappa schemas check orders schemas/order.avsc")
def check(topic: Topic, file: File, subject: Subject = None, as_json: Json = False) -> None:
    """Check whether a schema could be registered, and change nothing.

    Exits with 4 if values of some version could not be read with it, and names the field.
    """
    result = operations.check(config.load(), topic, file, subject=subject)
    emit(result, as_json=as_json, render=_render_checked)


def _render_registered(schema: RegisteredSchema) -> None:
    verb = "registered" if schema.created else "unchanged:"
    out().print(f"{verb} {schema.subject} version {schema.version}, id {schema.schema_id}")


def _render_list(subjects: tuple[ListedSubject, ...]) -> None:
    if not subjects:
        out().print("no schemas are registered")
        err().print("hint: kappa schemas register TOPIC FILE")
        return
    table(
        ["subject", "versions", "latest", "id", "fields"],
        [(s.subject, s.versions, s.latest_version, s.schema_id, s.fields) for s in subjects],
    )


def _render_shown(shown: ShownSchema) -> None:
    newest = " (newest)" if shown.latest else ""
    key = f", key column {shown.key}" if shown.key else ""
    err().print(f"{shown.subject} version {shown.version}{newest}, id {shown.schema_id}{key}")
    out().print(json.dumps(shown.schema, indent=2, ensure_ascii=False), soft_wrap=True)


def _render_checked(checked: CheckedSchema) -> None:
    if checked.known is not None:
        said = f"is version {checked.known} of {checked.subject} already"
    elif checked.versions == 0:
        said = f"would be the first version of {checked.subject}"
    else:
        count = f"{checked.versions} version{'s' if checked.versions > 1 else ''}"
        said = f"reads values of all {count} of {checked.subject}"
    out().print(f"compatible: the schema {said}")
