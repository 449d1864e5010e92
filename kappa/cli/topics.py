"""``kappa topics``: make topics whose history is kept, and see what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kappa import config
from kappa.cli.output import Json, emit, err, out, table
from kappa.operations import topics as operations
from kappa.operations.topics import CreatedTopic, ListedTopic, ShownTopic

app = typer.Typer(
    name="topics",
    help="Topics whose history is kept for ever.",
    no_args_is_help=True,
    add_completion=False,
)

Name = Annotated[str, typer.Argument(help="The topic.", metavar="NAME")]


@app.command(
    epilog="Example: kappa topics create orders --schema schemas/order.avsc --key customer"
)
def create(
    name: Name,
    partitions: Annotated[
        int, typer.Option("--partitions", min=1, help="How many; more can be added, none removed.")
    ] = operations.DEFAULT_PARTITIONS,
    compact: Annotated[
        bool, typer.Option("--compact", help="Keep only the latest record per key.")
    ] = False,
    schema: Annotated[
        Path | None, typer.Option("--schema", metavar="FILE", help="Avro schema of the values.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="COLUMN", help="The column that is the key.")
    ] = None,
    replication: Annotated[
        int | None, typer.Option("--replication", min=1, help="Replicas; the broker's default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Create a topic that keeps every record, with its schema and key.

    Nothing is deleted by time or size, and records carry the broker's timestamp. The schema is
    registered under NAME-value. The key is checked while records are processed: a record whose
    key is not the column's value goes to the dead letters.
    """
    result = operations.create(
        config.load(),
        name,
        partitions=partitions,
        compact=compact,
        schema_file=schema,
        key=key,
        replication_factor=replication,
    )
    emit(result, as_json=as_json, render=_render_created)


@app.command("list", epilog="Example: kappa topics list --json")
def list_(as_json: Json = False) -> None:
    """List the topics, how much they hold, and whether history is complete."""
    emit(operations.list_all(config.load()), as_json=as_json, render=_render_list)


@app.command(epilog="Example: kappa topics show orders")
def show(name: Name, as_json: Json = False) -> None:
    """Show where each partition of a topic begins and ends.

    The last stable offset is where readers stop: behind it, transactions are still open. History
    is complete while every partition begins at offset 0 and the topic is not compacted.
    """
    emit(operations.show(config.load(), name), as_json=as_json, render=_render_shown)


def _render_created(created: CreatedTopic) -> None:
    kind = "compacted topic" if created.compacted else "topic"
    out().print(f"created {kind} {created.topic} with {created.partitions} partitions")
    if created.subject is not None:
        out().print(
            f"schema {created.subject} version {created.schema_version}, id {created.schema_id}"
        )
    if created.key is not None:
        out().print(f"key column {created.key}")


def _render_list(topics: tuple[ListedTopic, ...]) -> None:
    if not topics:
        out().print("there are no topics")
        err().print("hint: kappa topics create NAME --schema FILE --key COLUMN")
        return
    table(
        ["topic", "partitions", "offsets", "compacted", "complete"],
        [(t.topic, t.partitions, t.offsets, t.compacted, t.complete) for t in topics],
    )


def _render_shown(topic: ShownTopic) -> None:
    schema = f"version {topic.schema_version}, id {topic.schema_id}" if topic.schema_id else None
    facts = {
        "topic": topic.topic,
        "id": topic.topic_id,
        "cleanup": "compact" if topic.compacted else _retention(topic),
        "timestamps": "the broker's" if topic.log_append_time else "the producers'",
        "replicas": str(topic.replication_factor),
        "schema": schema or "-",
        "key": topic.key or "-",
        "history": _history(topic),
    }
    for name, value in facts.items():
        out().print(f"{name:<11}{value}")
    out().print()
    table(
        ["partition", "log start", "log end", "last stable", "bytes", "leader", "complete"],
        [
            (
                part.partition,
                part.log_start,
                part.log_end,
                part.last_stable_offset,
                part.size_bytes,
                part.leader,
                part.complete,
            )
            for part in topic.partitions
        ],
    )


def _retention(topic: ShownTopic) -> str:
    limits = [
        f"{topic.retention_ms:,} ms" if topic.retention_ms >= 0 else "",
        f"{topic.retention_bytes:,} bytes" if topic.retention_bytes >= 0 else "",
    ]
    named = " or ".join(limit for limit in limits if limit)
    return f"deletes after {named}" if named else "keeps everything"


def _history(topic: ShownTopic) -> str:
    if topic.derived_from is not None:
        return f"none: it is the output {topic.derived_from}"
    if topic.compacted:
        return "latest record per key"
    cut = [str(part.partition) for part in topic.partitions if not part.complete]
    return f"incomplete: partition {', '.join(cut)} no longer begins at 0" if cut else "complete"
