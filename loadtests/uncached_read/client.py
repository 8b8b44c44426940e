"""A closed loop of requests over kept-alive connections; every answer is checked.

It exists because the server's CPU time is counted over answers that are right: a 404, a 429 or another row would be a
cheaper request. What it costs itself does not matter, it runs on a CPU of its own.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

HEAD_END = b"\r\n\r\n"


class WrongAnswer(Exception):
    """The server did not answer with the row that was asked for."""


@dataclass(frozen=True)
class Target:
    """Where items are read, and with which key (ignored by a server that knows no keys: all get the same bytes)."""

    port: int
    key: str
    host: str = "127.0.0.1"

    def request(self, item_id: int) -> bytes:
        """The request for an item, with the headers that a client commonly sends."""
        lines = [
            f"GET /api/v1/items/{item_id} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            "User-Agent: uncached-read/1",
            "Accept: application/json",
            f"X-API-Key: {self.key}",
        ]
        return "\r\n".join(lines).encode() + HEAD_END


def expected_item(item_id: int) -> dict[str, Any]:
    """What an item of the benchmark's table shows, without its times."""
    return {
        "id": item_id,
        "name": f"Item {item_id}",
        "description": f"Bronze, with a crank, number {item_id} of its series",
        "owner_id": item_id % 100 + 1,
    }


def check(item_id: int, status: int, body: bytes) -> None:
    """Raise ``WrongAnswer`` unless this is the item, in full."""
    if status == 200:
        shown = json.loads(body)
        if (
            shown.keys() == {*expected_item(item_id), "created_at", "updated_at"}
            and shown | expected_item(item_id) == shown
        ):
            return
    raise WrongAnswer(f"item {item_id}: {status} {body[:200]!r}")


class Connection(asyncio.Protocol):
    """One connection: sends a request, checks the answer, sends the next, until there are no more ids."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._received = b""
        self._ids: Iterator[int] = iter(())
        self._asked = 0
        self._done: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to send."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class

    async def run(self, ids: Iterator[int]) -> None:
        """Ask for these ids, one after the other, which other connections take from too. Raises ``WrongAnswer``."""
        self._ids = ids
        self._done = asyncio.get_running_loop().create_future()
        self._next()
        await self._done

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _next(self) -> None:
        assert self._done is not None
        following = next(self._ids, None)
        if following is None:
            self._done.set_result(None)
        else:
            self._asked = following
            self._transport.write(self._target.request(following))

    def data_received(self, data: bytes) -> None:
        """A part of an answer, most often all of it."""
        self._received += data
        head, end, body = self._received.partition(HEAD_END)
        if not end:
            return
        status_line, *lines = head.split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        if len(body) < int(headers[b"content-length"]):
            return
        self._received = b""
        try:
            check(self._asked, int(status_line.split()[1]), body)
        except WrongAnswer as wrong:
            self._fail(wrong)
        else:
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        """The server must not close before all is answered."""
        self._fail(WrongAnswer(f"item {self._asked}: the connection was closed ({exc})"))

    def _fail(self, error: Exception) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)


class Client:
    """Kept-alive connections to one server."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._connections = connections

    @classmethod
    async def connect(cls, target: Target, connections: int) -> "Client":
        """Open them. Raises ``OSError`` when nobody listens."""
        loop = asyncio.get_running_loop()
        opened = [
            await loop.create_connection(lambda: Connection(target), target.host, target.port)
            for _ in range(connections)
        ]
        return cls([connection for _, connection in opened])

    async def read(self, ids: Sequence[int]) -> None:
        """Read these items, as many at a time as there are connections. Raises ``WrongAnswer``."""
        shared = iter(ids)
        await asyncio.gather(*(connection.run(shared) for connection in self._connections))

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.close()
