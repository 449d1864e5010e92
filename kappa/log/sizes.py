"""How many bytes a topic's partitions take on their leaders' disks."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping

import aiokafka.errors as aio

from kappa.config import KafkaSettings
from kappa.log.brokers import Brokers
from kappa.log.client import aiokafka_arguments
from kappa.log.protocol import DescribeLogDirs
from kappa.log.records import TopicPartition


def partition_sizes(kafka: KafkaSettings, topic: str, leaders: Mapping[int, int]) -> dict[int, int]:
    """Bytes by partition, given each partition's leader.

    A partition is missing from the result where its leader does not say: it is down, or these
    credentials may not describe the cluster.
    """
    return asyncio.run(_sizes(kafka, topic, leaders))


async def _sizes(kafka: KafkaSettings, topic: str, leaders: Mapping[int, int]) -> dict[int, int]:
    led: defaultdict[int, list[int]] = defaultdict(list)
    for partition, leader in leaders.items():
        led[leader].append(partition)
    timeout_s = kafka.default_api_timeout_ms / 1000
    brokers = Brokers(aiokafka_arguments(kafka), frozenset([topic]), timeout_s)
    sizes: dict[int, int] = {}
    try:
        for partitions in led.values():
            request = DescribeLogDirs(topic, partitions)
            async with asyncio.timeout(timeout_s):
                response = await brokers.ask(TopicPartition(topic, partitions[0]), request)
            for _error, _directory, topics in response.log_dirs:
                for _topic, replicas in topics:
                    sizes.update(
                        {number: size for number, size, _lag, moving in replicas if not moving}
                    )
    except (aio.KafkaError, OSError, TimeoutError):
        pass
    finally:
        await brokers.close()
    return sizes
