"""The guarded protocol on a real socket in this process, an app behind it, and a client that decides about each byte."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import Message, Receive, Scope, Send
from uvicorn.server import ServerState

from app.core.config import HttpSettings

HTTP = HttpSettings(
    max_target_bytes=200,
    max_header_bytes=2_000,
    max_headers=20,
    header_timeout=0.4,
    body_timeout=0.6,
    max_body_bytes=1_000,
)
HEAD = b"GET /echo HTTP/1.1\r\nHost: test\r\n"
GET = HEAD + b"\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: test\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

type Answer = tuple[int, dict[str, str], bytes]


async def respond(send: Send, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """200 with a body."""
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body)), *headers]}
    )
    await send({"type": "http.response.body", "body": body})


class App:
    """Answers with what it got, in the manner that the path asks for."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.messages: list[Message] = []
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        self.scopes.append(scope)
        match scope["path"]:
            case "/early":
                await respond(send, b"early")
            case "/early-close":
                await respond(send, b"early", (b"connection", b"close"))
            case "/wait":
                await self.go_on.wait()
                await respond(send, b"waited")
            case "/crash":
                raise RuntimeError("a defect")
            case "/half":
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
                await send({"type": "http.response.body", "body": b"half", "more_body": True})
                self.messages.append(await receive())
                self.messages.append(await receive())
            case _:
                body = b""
                more = True
                while more:
                    message = await receive()
                    self.messages.append(message)
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                await respond(send, scope["method"].encode() + b" " + scope["path"].encode() + b" " + body)


class Client:
    """One connection to the server under test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *parts: bytes) -> None:
        """Each part in a segment of its own."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            await asyncio.sleep(0.01)

    async def answer(self) -> Answer:
        """The next response: status, headers, body."""
        async with asyncio.timeout(5):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, body

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        async with asyncio.timeout(5):
            return await self.reader.read()


class Server:
    """A listening guarded protocol around ``App``."""

    def __init__(self, port: int, app: App, state: ServerState) -> None:
        self.port = port
        self.app = app
        self.state = state

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A new connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Client(reader, writer)
        finally:
            writer.transport.abort()

    async def connections(self, count: int) -> None:
        """Wait until there are so many."""
        async with asyncio.timeout(5):
            while len(self.state.connections) != count:
                await asyncio.sleep(0.01)


Serve = Callable[..., Awaitable[Server]]


def is_problem(answer: Answer, status: int, slug: str) -> dict[str, Any]:
    """Check that a refusal has all that it must have."""
    got, headers, body = answer
    document: dict[str, Any] = json.loads(body)
    assert (got, document["type"]) == (status, f"/docs/problems/{slug}"), document
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert len(bytes.fromhex(document["instance"])) == 16
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store"
    assert headers["connection"] == "close"
    return document
