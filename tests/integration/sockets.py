"""The application behind a real socket, inside the test's process: what is sent, when it is not read, and how it ends."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvicorn

from app.api.problems import problem_body
from app.core.server.protocol import Edge, guarded_protocol
from tests.conftest import Api
from tests.integration.tools import eventually


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # they are pytest's


@dataclass(frozen=True)
class Served:
    """A server that listens."""

    api: Api
    port: int
    server: uvicorn.Server

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def get(self, target: str, window: int = 16_384) -> AsyncIterator[asyncio.StreamReader]:
        """Send a request, and leave the reading of every byte of the answer to the block; then hang up.

        ``window``: bytes that the client takes in without reading them.
        """
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=window)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: api.test\r\nX-API-Key: {self.api.key}\r\n\r\n".encode())
        try:
            yield reader
        finally:
            writer.transport.abort()

    def connections(self) -> int:
        """How many are open."""
        return len(self.server.server_state.connections)


@asynccontextmanager
async def serving(api: Api) -> AsyncIterator[Served]:
    """Serve the application on a free port, with the protocol of the product."""
    config = uvicorn.Config(
        api,
        http=guarded_protocol(Edge(api.process.settings.http, problem_body)),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = _Server(config)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        await eventually(lambda: server.started)
        try:
            yield Served(api, listener.getsockname()[1], server)
        finally:
            server.should_exit = True
            await running
