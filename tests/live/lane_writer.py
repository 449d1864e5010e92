"""Publishes lanes at a rate: ``python -m tests.live.lane_writer JSON``.

It ends at the end of its standard input and prints how many records each of its lanes has.
"""

from __future__ import annotations

import io
import json
import select
import sys
import time

import fastavro
from confluent_kafka import Producer

from kappa.avro.wire import header
from kappa.config import KafkaSettings
from kappa.log.client import confluent_config
from tests.live.lanes import SCHEMA, record

TURN_S = 0.02


def main() -> None:
    """Reads its orders from the command line, its end from standard input."""
    orders = json.loads(sys.argv[1])
    producer = Producer(
        {
            **confluent_config(KafkaSettings(bootstrap_servers=orders["bootstrap_servers"])),
            "enable.idempotence": True,
            "linger.ms": 2,
        }
    )
    schema, prefix = fastavro.parse_schema(SCHEMA), header(orders["schema_id"])
    numbers = dict.fromkeys(orders["lanes"], 0)
    began = time.monotonic()
    while not select.select([sys.stdin], [], [], TURN_S)[0]:
        due = int((time.monotonic() - began) * orders["per_second"])
        for lane, number in numbers.items():
            for next_one in range(number, due):
                out = io.BytesIO(prefix)
                out.seek(0, io.SEEK_END)
                fastavro.schemaless_writer(out, schema, record(lane, next_one))
                producer.produce(orders["topic"], out.getvalue(), str(lane).encode(), lane)
            numbers[lane] = max(number, due)
        producer.poll(0)
    if producer.flush(60):
        raise SystemExit("the broker did not acknowledge everything")
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()
