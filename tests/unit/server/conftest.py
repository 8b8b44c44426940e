"""Fixtures for tests of the protocol."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from app.api.problems import problem_body
from app.core.config import HttpSettings
from app.core.server.protocol import Edge, GuardedProtocol, guarded_protocol
from tests.unit.server.guarded import HTTP, App, Serve, Server


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts servers that end with the test."""
    listeners: list[asyncio.Server] = []
    states: list[ServerState] = []

    async def start(http: HttpSettings = HTTP, keepalive: int = 5) -> Server:
        app = App()
        protocol = guarded_protocol(Edge(http, problem_body))
        config = Config(
            app,
            http=protocol,
            lifespan="off",
            ws="none",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=keepalive,
        )
        config.load()
        state = ServerState()
        states.append(state)

        def connect() -> GuardedProtocol:
            return protocol(config, state, {})

        listener = await asyncio.get_running_loop().create_server(connect, "127.0.0.1", 0)
        listeners.append(listener)
        return Server(listener.sockets[0].getsockname()[1], app, state)

    yield start
    for listener in listeners:
        listener.close()
    for state in states:
        for connection in list(state.connections):
            connection.transport.abort()
        for task in list(state.tasks):
            task.cancel()
    await asyncio.sleep(0.01)
