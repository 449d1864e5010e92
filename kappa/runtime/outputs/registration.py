"""The topics that a version's outputs go to: what they hold, and whose they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kappa.config import KafkaSettings
from kappa.errors import DerivedTopic, OutputTaken, UnknownTopic
from kappa.log.history import topic_history
from kappa.log.topics import check_name
from kappa.registry.topic import TopicRegistry, value_subject
from kappa.runtime.outputs.schema import value_schema
from kappa.tables.layout import Layout
from kappa.tables.publication import Publication, TopicTarget


def origin(processor: str, output: str) -> str:
    """What a derived topic is marked with: whose output it holds."""
    return f"{processor}.{output}"


def require_original(
    registry: TopicRegistry, topic: str, *, allow_derived: bool
) -> tuple[str, ...]:
    """Passes if a topic holds history, not what a processor made of some.

    Returns:
        A line for the manifest where that was overridden.

    Raises:
        DerivedTopic: it holds an output and ``allow_derived`` is false.
    """
    owner = registry.derived_from(topic)
    if owner is None:
        return ()
    if not allow_derived:
        raise DerivedTopic(
            "the topic is the output of a processor: it begins when that was first promoted, and"
            " does not hold all of history",
            topic=topic,
            derived_from=owner,
            hint="read the topic it is made from; --allow-derived reads this one all the same and"
            " records that for good",
        )
    return (f"{topic} is derived from {owner}",)


def check_outputs(kafka: KafkaSettings, registry: TopicRegistry, layout: Layout) -> None:
    """Whether the version's outputs can go to their topics. Writes nothing.

    Raises:
        InvalidTopicName: Kafka does not allow the name.
        OutputTaken: the topic holds another output, or records that no output sent.
        IncompatibleSchema: those who read the topic could not read this version's values.
    """
    for sent, target in _topics(layout):
        check_name(target.topic)
        owner = registry.derived_from(target.topic)
        ours = origin(layout.processor, sent.output)
        if owner not in (None, ours):
            raise OutputTaken(
                f"the topic {target.topic!r} already holds the output {owner}",
                output=ours,
                hint="give each output a topic of its own",
            )
        if owner is None and _holds_records(kafka, target.topic):
            raise OutputTaken(
                f"the topic {target.topic!r} holds records that are no output of a processor",
                output=ours,
                hint="name another topic: history must not be mixed with what is made from it",
            )
        registry.check(value_subject(target.topic), value_schema(layout, sent.output))


def register_outputs(registry: TopicRegistry, layout: Layout) -> Layout:
    """Registers the schemas and marks the topics as derived; the layout with the schemas' ids.

    Raises:
        IncompatibleSchema: as ``check_outputs``.
    """
    published = []
    for sent in layout.publishes:
        target = sent.target
        if isinstance(target, TopicTarget):
            registry.mark_derived(target.topic, origin(layout.processor, sent.output))
            schema = value_schema(layout, sent.output)
            registered = registry.register(value_subject(target.topic), schema)
            sent = replace(sent, target=replace(target, schema_id=registered.schema_id))
        published.append(sent)
    return replace(layout, publishes=tuple(published))


def _topics(layout: Layout) -> Iterator[tuple[Publication, TopicTarget]]:
    for sent in layout.publishes:
        if isinstance(sent.target, TopicTarget):
            yield sent, sent.target


def _holds_records(kafka: KafkaSettings, topic: str) -> bool:
    try:
        history = topic_history(kafka, topic)
    except UnknownTopic:
        return False
    return any(part.high_watermark > part.log_start for part in history.partitions)
