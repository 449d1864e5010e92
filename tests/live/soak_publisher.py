"""Publishes the soak's sales at their rate: ``python -m tests.live.soak_publisher JSON``.

A process of its own, so that it keeps its pace whatever the soak is doing. It ends at the end of
its standard input and prints how many chunks it has published, and in how many seconds.
"""

from __future__ import annotations

import json
import select
import sys
import time

from confluent_kafka import Producer

from kappa.avro import schema as avro
from kappa.avro.encode import BatchEncoder
from kappa.config import KafkaSettings
from kappa.log.client import confluent_config
from tests.live.soak_stream import CHUNK, PARTITIONS, SCHEMA, Sales


def main() -> None:
    """Reads its orders from the command line, its end from standard input."""
    orders = json.loads(sys.argv[1])
    kafka = KafkaSettings(bootstrap_servers=orders["bootstrap_servers"])
    encoder = BatchEncoder(avro.parse(SCHEMA), orders["schema_id"])
    producer = Producer(
        {**confluent_config(kafka), "enable.idempotence": True, "linger.ms": 5, "acks": "all"}
    )
    sales = Sales(orders["start_ms"], orders["per_second"], orders["seed"])
    began = time.monotonic()
    chunks = 0
    while not _ended(max(began + chunks * CHUNK / orders["per_second"] - time.monotonic(), 0)):
        frame = sales.chunk(chunks)
        shops = frame["shop"].to_list()
        for shop, value in zip(shops, encoder.encode(frame), strict=True):
            producer.produce(orders["topic"], value, str(shop).encode(), shop % PARTITIONS)
        producer.poll(0)
        chunks += 1
    left = producer.flush(120)
    seconds = time.monotonic() - began
    print(json.dumps({"chunks": chunks, "seconds": seconds, "unacknowledged": left}))


def _ended(timeout_s: float) -> bool:
    ready, _, _ = select.select([sys.stdin], [], [], timeout_s)
    return bool(ready)


if __name__ == "__main__":
    main()
