"""``python -m bench replay``: the same jobs by kappa and by hand, a core each, results checked.

``python -m bench state``: memory and restart of a processor with a state per key, of many keys.
``python -m bench latency``: from send to visible under ``kappa run``, beside a bare loop.
``python -m bench scaling``: how fast ``kappa run`` catches up with one worker and with two.
``python -m bench memory``: what a worker holds over many records, with the database paused.
``python -m bench stall``: how long readers wait while a promote meets one that holds the view.
``python -m bench diff``: comparing two versions of a million rows, beside a plain EXCEPT.
``python -m bench nexmark``: an online auction's queries, each replayed on a core and checked.

A missed target ends any of them with status 1, and is named on stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from typing import Any

from bench import (
    by_hand,
    diff,
    latency,
    memory,
    orders,
    replay,
    scaling,
    stages,
    stall,
    state,
    visits,
)
from bench.jobs import JOBS
from bench.nexmark import measure as nexmark
from bench.servers import REGISTRY_TOPIC
from kappa.config import KafkaSettings
from kappa.registry.topic import TopicRegistry

_DECODED = 1_000_000
_STAGES = {"by-hand": "job", "fetch": "topic", "decode": "topic"}


def main() -> int:
    """Prints what was measured; 1 where a target was missed, and which to stderr."""
    options = _parser().parse_args()
    if options.command in _STAGES:
        print(json.dumps(_stage(options.command, options.subject)))
        return 0
    report, text, missed = _measured(options)
    print(json.dumps(report, indent=2) if options.json else text)
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if missed else 0


def _measured(options: argparse.Namespace) -> tuple[Any, str, list[str]]:
    """The report as data and for people, and which targets it misses."""
    if options.command == "replay":
        done = replay.measure(options.jobs, options.records, options.core)
        return asdict(done), replay.render(done), replay.missed(done)
    if options.command == "state":
        kept = state.measure(options.keys, options.core)
        return asdict(kept), state.render(kept), state.missed(kept)
    if options.command == "latency":
        took = latency.measure(options.rate, options.seconds, options.max_delay)
        return asdict(took), latency.render(took), latency.missed(took)
    if options.command == "scaling":
        caught = scaling.measure(options.records)
        return asdict(caught), scaling.render(caught), scaling.missed(caught)
    if options.command == "memory":
        held = memory.measure(options.records, options.pause)
        return asdict(held), memory.render(held), memory.missed(held)
    if options.command == "stall":
        stalled = stall.measure()
        return [asdict(one) for one in stalled], stall.render(stalled), stall.missed(stalled)
    if options.command == "diff":
        compared = diff.measure(options.rows)
        return asdict(compared), diff.render(compared), diff.missed(compared)
    found = nexmark.measure(options.events, options.core)
    return asdict(found), nexmark.render(found), []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    jobs = commands.add_parser("replay", help="measure jobs and check their results")
    jobs.add_argument("--records", type=int, default=orders.COUNT)
    jobs.add_argument("--jobs", type=_jobs, default=list(JOBS), help=",".join(JOBS))
    keys = commands.add_parser("state", help="measure memory and restart with many keys")
    keys.add_argument("--keys", type=int, default=visits.COUNT)
    auction = commands.add_parser("nexmark", help="measure the NEXMark queries and check them")
    auction.add_argument("--events", type=int, default=nexmark.EVENTS)
    live = commands.add_parser("latency", help="measure from send to visible")
    live.add_argument("--rate", type=int, default=latency.RATE, help="ticks per second")
    live.add_argument("--seconds", type=int, default=latency.SECONDS)
    live.add_argument("--max-delay", type=int, default=latency.MAX_DELAY_MS, help="in ms")
    live.add_argument("--json", action="store_true")
    workers = commands.add_parser("scaling", help="measure catching up with more workers")
    workers.add_argument("--records", type=int, default=scaling.RECORDS)
    workers.add_argument("--json", action="store_true")
    long = commands.add_parser("memory", help="measure memory over many records and a pause")
    long.add_argument("--records", type=int, default=memory.RECORDS)
    long.add_argument("--pause", type=float, default=memory.PAUSE_S, help="in seconds")
    long.add_argument("--json", action="store_true")
    held = commands.add_parser("stall", help="measure how long readers wait for a promote")
    held.add_argument("--json", action="store_true")
    versions = commands.add_parser("diff", help="measure comparing two versions, and EXCEPT")
    versions.add_argument("--rows", type=int, default=diff.ROWS, help="of each version")
    versions.add_argument("--json", action="store_true")
    for whole in (jobs, keys, auction):
        whole.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
        whole.add_argument("--json", action="store_true")
    for name, subject in _STAGES.items():
        stage = commands.add_parser(name, help="one measurement; 'replay' runs it as a process")
        stage.add_argument("subject", metavar=subject)
    return parser


def _jobs(names: str) -> list[str]:
    chosen = names.split(",")
    if unknown := [name for name in chosen if name not in JOBS]:
        raise argparse.ArgumentTypeError(f"no job is called {unknown[0]!r}, only {', '.join(JOBS)}")
    return chosen


def _stage(name: str, subject: str) -> dict[str, float]:
    kafka = KafkaSettings(bootstrap_servers=os.environ["KAPPA_KAFKA__BOOTSTRAP_SERVERS"])
    if name == "by-hand":
        job, url = JOBS[subject], os.environ["KAPPA_POSTGRES__URL"]
        topic, table = job.stream.topic_here, replay.table_by_hand(job)
        return asdict(by_hand.run(job, kafka.bootstrap_servers, url, topic, table))
    if name == "fetch":
        return asdict(stages.fetch(kafka, subject))
    registry = TopicRegistry(kafka, REGISTRY_TOPIC)
    return asdict(stages.decode(kafka, registry, subject, _DECODED))


if __name__ == "__main__":  # a process that is spawned imports this module too
    sys.exit(main())
