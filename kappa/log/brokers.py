"""Asking the leader of a partition, and finding it again when it has moved or died."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import aiokafka.errors as aio
from aiokafka import TopicPartition as AioPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.api import Request
from aiokafka.protocol.metadata import MetadataRequest

from kappa.log.records import TopicPartition

CLOSE_S = 3.0
_LOST = (aio.KafkaError, OSError, TimeoutError)


class Brokers:
    """An ``AIOKafkaClient`` that is rebuilt whenever it can no longer tell who leads.

    The client by itself keeps asking the addresses it once learned; brokers that came back under
    other addresses are found only from the bootstrap servers again. All calls must come from one
    event loop.
    """

    def __init__(
        self, arguments: Mapping[str, Any], topics: frozenset[str], connect_timeout_s: float
    ) -> None:
        self._arguments = dict(arguments)
        self._topics = sorted(topics)
        self._connect_timeout_s = connect_timeout_s
        self._client: AIOKafkaClient | None = None
        self._lock = asyncio.Lock()
        self.generation = 0
        """Counts refreshes, so that many who failed at once refresh only once."""

    async def ask(self, partition: TopicPartition, request: Request[Any]) -> Any:
        """The leader's response. Each partition has a connection of its own.

        A broker answers one connection's requests in order: on a shared one, a long poll of a
        quiet partition would hold up a busy one.

        Raises:
            aiokafka.errors.KafkaError, OSError, TimeoutError: retry after ``refresh`` if the
                error is retriable.
        """
        client = await self._connected()
        leader = self._leader(client, partition)
        try:
            return await client.send(leader, request, group=partition)
        except NotImplementedError as error:  # no version that both sides speak
            raise aio.IncompatibleBrokerVersion(str(error)) from error

    async def refresh(self, seen: int) -> None:
        """Learns the leaders anew, unless somebody has since generation ``seen``.

        Does not raise: what is still wrong then shows at the next ``ask``.
        """
        async with self._lock:
            if self.generation != seen:
                return
            self.generation += 1
            if self._client is None:
                return
            try:
                async with asyncio.timeout(self._connect_timeout_s):
                    await self._learn_leaders(self._client)
            except _LOST:
                lost, self._client = self._client, None
                await _close(lost)

    def knows(self, partition: TopicPartition) -> bool:
        """Whether the topic of that name had this partition when last asked."""
        known = self._client and self._client.cluster.leader_for_partition(
            AioPartition(partition.topic, partition.partition)
        )
        return known is not None

    async def close(self) -> None:
        """Closes every connection, in bounded time."""
        if self._client is not None:
            client, self._client = self._client, None
            await _close(client)

    async def _connected(self) -> AIOKafkaClient:
        async with self._lock:
            if self._client is None:
                client = AIOKafkaClient(**self._arguments)
                try:
                    async with asyncio.timeout(self._connect_timeout_s):
                        await client.bootstrap()
                        await self._learn_leaders(client)
                except aio.KafkaConnectionError as error:
                    await _close(client)
                    servers = self._arguments["bootstrap_servers"]
                    raise aio.KafkaConnectionError(f"cannot connect to {servers}") from error
                except BaseException:
                    await _close(client)
                    raise
                self._client = client
            return self._client

    async def _learn_leaders(self, client: AIOKafkaClient) -> None:
        node = client.get_random_node()
        if node is None:
            raise aio.KafkaConnectionError("no broker is known")
        # The client's own metadata requests would let a broker create topics it does not have.
        request = MetadataRequest(self._topics, allow_auto_topic_creation=False)
        client.cluster.update_metadata(await client.send(node, request))

    def _leader(self, client: AIOKafkaClient, partition: TopicPartition) -> int:
        if partition.topic in client.cluster.unauthorized_topics:
            raise aio.TopicAuthorizationFailedError(partition.topic)
        leader = client.cluster.leader_for_partition(
            AioPartition(partition.topic, partition.partition)
        )
        if leader is None:
            raise aio.UnknownTopicOrPartitionError(str(partition))
        if leader < 0:
            raise aio.LeaderNotAvailableError(str(partition))
        return int(leader)


async def _close(client: AIOKafkaClient) -> None:
    with contextlib.suppress(*_LOST):
        async with asyncio.timeout(CLOSE_S):
            await client.close()
