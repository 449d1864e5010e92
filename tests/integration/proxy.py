"""A TCP proxy in front of a broker that can be cut, refused or silenced.

Clients learn the broker's own address from its metadata and would go round the proxy. It
therefore replaces that address in responses by its own, which has the same length.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

_HOST = "127.0.0.1"
_CHUNK = 256 * 1024


class Proxy:
    """Listens on a port of 127.0.0.1 and forwards to the broker. A context manager."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._broker_port = int(bootstrap_servers.split(",")[0].rsplit(":", 1)[1])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._speaking = asyncio.Event()
        self._speaking.set()
        self._server: asyncio.Server | None = None
        self._until_cut: int | None = None
        self._delay_s = 0.0
        self.port = 0
        self.cuts = 0
        """How often connections were reset."""
        self.lost = 0
        """How many connections were reset, each counted at both ends."""

    @property
    def bootstrap_servers(self) -> str:
        return f"{_HOST}:{self.port}"

    def cut(self) -> None:
        """Resets every connection; new ones are accepted."""
        self._do(self._cut())

    def cut_after(self, count: int) -> None:
        """Resets every connection once ``count`` more bytes came from the broker."""
        self._until_cut = count

    def delay(self, seconds: float) -> None:
        """Whatever comes from the broker is held for so long."""
        self._delay_s = seconds

    def refuse(self) -> None:
        """As if the broker's process were gone: nothing listens any more."""
        self._do(self._refuse())

    def accept(self) -> None:
        """Listens, on the same port as before."""
        self._do(self._accept())

    def silence(self) -> None:
        """Passes nothing on, but keeps connections and takes new ones."""
        self._loop.call_soon_threadsafe(self._speaking.clear)

    def speak(self) -> None:
        self._loop.call_soon_threadsafe(self._speaking.set)

    def __enter__(self) -> Self:
        self._thread.start()
        self.accept()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, action: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(action, self._loop).result(10)

    async def _accept(self) -> None:
        self._server = await asyncio.start_server(self._connect, _HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._cut()

    async def _cut(self) -> None:
        self.cuts += 1
        self.lost += len(self._writers)
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _connect(
        self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter
    ) -> None:
        broker_in, broker_out = await asyncio.open_connection(_HOST, self._broker_port)
        pair = {client_out, broker_out}
        self._writers |= pair
        try:
            await asyncio.gather(
                self._pump(client_in, broker_out, broker=broker_out),
                self._pump(broker_in, client_out, broker=broker_out),
            )
        finally:
            self._writers -= pair

    async def _pump(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        broker: asyncio.StreamWriter,
    ) -> None:
        host = _HOST.encode()
        real = host + struct.pack(">i", self._broker_port)
        mine = host + struct.pack(">i", self.port)
        try:
            while data := await source.read(_CHUNK):
                await self._speaking.wait()
                if target is not broker and self._delay_s:
                    await asyncio.sleep(self._delay_s)
                data = data.replace(real, mine)
                if self._until_cut is not None and target is not broker:
                    data, self._until_cut = data[: self._until_cut], self._until_cut - len(data)
                target.write(data)
                await target.drain()
                if self._until_cut is not None and self._until_cut <= 0:
                    self._until_cut = None
                    await self._cut()
        except OSError:
            pass
        finally:
            target.close()
            broker.close()
