"""``python -m bench replay``: the same job by kappa and by hand, a core each, results checked."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict

from bench import by_hand, orders, stages
from bench.replay import measure, render
from bench.servers import REGISTRY_TOPIC
from kappa.config import KafkaSettings
from kappa.registry.topic import TopicRegistry

_DECODED = 1_000_000


def main() -> None:
    """Parses the command line and prints what was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    replay = commands.add_parser("replay", help="measure everything and check the results")
    replay.add_argument("--records", type=int, default=orders.COUNT)
    replay.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    replay.add_argument("--json", action="store_true")
    for name in ("by-hand", "fetch", "decode"):
        stage = commands.add_parser(name, help="one measurement; 'replay' runs it as a process")
        stage.add_argument("topic")
    options = parser.parse_args()
    if options.command != "replay":
        print(json.dumps(_stage(options.command, options.topic)))
        return
    report = measure(options.records, options.core)
    print(json.dumps(asdict(report), indent=2) if options.json else render(report))


def _stage(name: str, topic: str) -> dict[str, float]:
    kafka = KafkaSettings(bootstrap_servers=os.environ["KAPPA_KAFKA__BOOTSTRAP_SERVERS"])
    if name == "by-hand":
        url = os.environ["KAPPA_POSTGRES__URL"]
        return asdict(by_hand.run(kafka.bootstrap_servers, url, topic, "by_hand"))
    if name == "fetch":
        return asdict(stages.fetch(kafka, topic))
    registry = TopicRegistry(kafka, REGISTRY_TOPIC)
    return asdict(stages.decode(kafka, registry, topic, _DECODED))


main()
