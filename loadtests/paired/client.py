"""A closed loop of requests over kept-alive connections; every answer is checked, and its time taken.

What it costs itself does not matter, it runs on a CPU of its own.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import cast

from loadtests.paired.workloads import Target, Workload, WrongAnswer

HEAD_END = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """One connection: sends a request, checks the answer, sends the next, until there are no more numbers."""

    def __init__(self, target: Target, workload: Workload) -> None:
        self._target = target
        self._workload = workload
        self._received = b""
        self._numbers: Iterator[int] = iter(())
        self._asked = 0
        self._asked_at = 0.0
        self._seconds: list[float] = []
        self._done: asyncio.Future[list[float]] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to send."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class

    async def run(self, numbers: Iterator[int]) -> list[float]:
        """Ask for these, one after the other, which other connections take from too; how many seconds each answer took.

        Raises ``WrongAnswer``.
        """
        self._numbers, self._seconds = numbers, []
        self._done = asyncio.get_running_loop().create_future()
        self._next()
        return await self._done

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _next(self) -> None:
        assert self._done is not None
        following = next(self._numbers, None)
        if following is None:
            self._done.set_result(self._seconds)
        else:
            self._asked = following
            request = self._workload.request(self._target, following)
            self._asked_at = time.perf_counter()
            self._transport.write(request)

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
        self._seconds.append(time.perf_counter() - self._asked_at)
        self._received = b""
        try:
            self._workload.check(self._asked, int(status_line.split()[1]), body)
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
    """Kept-alive connections to one server, for requests of one kind."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._connections = connections

    @classmethod
    async def connect(cls, target: Target, workload: Workload, connections: int) -> "Client":
        """Open them. Raises ``OSError`` when nobody listens."""
        loop = asyncio.get_running_loop()
        opened = [
            await loop.create_connection(lambda: Connection(target, workload), target.host, target.port)
            for _ in range(connections)
        ]
        return cls([connection for _, connection in opened])

    async def ask(self, numbers: Sequence[int]) -> list[float]:
        """Ask for these, as many at a time as there are connections; the seconds of each. Raises ``WrongAnswer``."""
        shared = iter(numbers)
        taken = await asyncio.gather(*(connection.run(shared) for connection in self._connections))
        return [seconds for one in taken for seconds in one]

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.close()
