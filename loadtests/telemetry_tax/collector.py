"""A stand-in for an OTLP collector, as cheap as can be, that behaves well or badly: ``python -m loadtests.telemetry_tax.collector``.

It runs in a process of its own, on the client's CPU: what a collector does with spans is not what a request costs.
"""

import asyncio
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path

from app.dev.errors import DevelopmentError
from app.dev.postgres import free_port
from app.dev.processes import Child
from app.dev.web import LOOPBACK
from loadtests.paired.backing import clean_environment

SLOW_SECONDS = 1.0
"""How long the slow one takes: less than Gantry waits for it (tracing.timeout)."""

START_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"
"""An ``ExportTraceServiceResponse`` without members has no bytes."""
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


class Manner(StrEnum):
    """How a collector that listens behaves."""

    taking = "taking"
    hanging = "hanging"
    """It accepts connections, reads, and never answers."""
    slow = "slow"


async def serve(manner: Manner, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, with one request after the other. Content is read and not looked at."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            request_line, *lines = head.split(b"\r\n")
            headers = {
                name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)
            }
            await reader.readexactly(int(headers.get(b"content-length", b"0")))
            if manner is Manner.hanging:
                await reader.read()  # until the other side gives up
                return
            if manner is Manner.slow:
                await asyncio.sleep(SLOW_SECONDS)
            writer.write(ANSWER if request_line.startswith(b"POST /v1/traces ") else NOT_FOUND)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the other side closed
    finally:
        writer.close()


async def listen(manner: Manner, port: int) -> asyncio.Server:
    """Serve on this port; 0 takes a free one."""
    return await asyncio.start_server(lambda reader, writer: serve(manner, reader, writer), LOOPBACK, port)


@contextmanager
def standing(manner: Manner, log: Path) -> Iterator[str]:
    """A process of this module, on this thread's CPUs; its base URL."""
    port = free_port()
    command = [sys.executable, "-m", "loadtests.telemetry_tax.collector"]
    child = Child(f"collector, {manner}", [*command, manner, str(port)], environment=clean_environment(), log=log)
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not _listens(port):
            if child.status is not None or time.monotonic() > deadline:
                raise DevelopmentError(child.ended())
            time.sleep(0.02)
        yield f"http://{LOOPBACK}:{port}"
    finally:
        child.stop(STOP_TIMEOUT)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
        return True
    return False


async def _main(manner: Manner, port: int) -> None:
    server = await listen(manner, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(Manner(sys.argv[1]), int(sys.argv[2])))
