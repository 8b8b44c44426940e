"""What servers are asked: the request that belongs to a number, and whether an answer is the right one.

Every answer is checked, since the server's CPU time is counted over answers that are right: a 404, a 429 or another row would be a
cheaper request.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, Protocol

ITEMS: Final = 10_000
"""Rows of the benchmark's table, and the numbers that are drawn: from 1."""

OWNERS: Final = 100

ITEMS_PATH: Final = "/api/v1/items"


class WrongAnswer(Exception):
    """The server did not answer as it was asked."""


@dataclass(frozen=True)
class Target:
    """Where requests go, and with which key (ignored by a server that knows no keys: all get the same bytes)."""

    port: int
    key: str
    host: str = "127.0.0.1"

    def request(self, method: str, path: str, content: bytes | None = None) -> bytes:
        """A request with the headers that a client commonly sends; ``content`` is JSON."""
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            "User-Agent: gantry-loadtests/1",
            "Accept: application/json",
            f"X-API-Key: {self.key}",
        ]
        if content is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + (content or b"")


class Workload(Protocol):
    """Requests of one kind; each has a number, which all variants get alike."""

    @property
    def name(self) -> str:
        """For tables."""

    @property
    def weight(self) -> int:
        """How many times as long as a read it takes, about: a block has that many times fewer."""

    def request(self, target: Target, number: int) -> bytes:
        """The whole request."""

    def check(self, number: int, status: int, body: bytes) -> None:
        """Raise ``WrongAnswer`` unless this is the answer to it, in full."""


def expected_item(number: int) -> dict[str, Any]:
    """What an item of the benchmark shows, without its id and its times."""
    return {
        "name": f"Item {number}",
        "description": f"Bronze, with a crank, number {number} of its series",
        "owner_id": number % OWNERS + 1,
    }


def _is_item(shown: Any, number: int) -> bool:
    expected = expected_item(number)
    return (
        isinstance(shown, dict)
        and shown.keys() == {*expected, "id", "created_at", "updated_at"}
        and shown | expected == shown
    )


class ReadItem:
    """``GET /api/v1/items/{id}`` of a row that is there."""

    name = "read"
    weight = 1

    def request(self, target: Target, number: int) -> bytes:
        """The request for this row."""
        return target.request("GET", f"{ITEMS_PATH}/{number}")

    def check(self, number: int, status: int, body: bytes) -> None:
        """Only this row will do."""
        if status == 200:
            shown = json.loads(body)
            if _is_item(shown, number) and shown["id"] == number:
                return
        raise WrongAnswer(f"item {number}: {status} {body[:200]!r}")


class CreateItem:
    """``POST /api/v1/items``: one more row, with the members that the row of this number has."""

    name = "create"
    weight = 3

    def request(self, target: Target, number: int) -> bytes:
        """The request for a row like this."""
        return target.request("POST", ITEMS_PATH, json.dumps(expected_item(number)).encode())

    def check(self, number: int, status: int, body: bytes) -> None:
        """Only a new row with these members will do."""
        if status == 201:
            shown = json.loads(body)
            if _is_item(shown, number) and shown["id"] > ITEMS:
                return
        raise WrongAnswer(f"a new item {number}: {status} {body[:200]!r}")


READ: Final[Workload] = ReadItem()
CREATE: Final[Workload] = CreateItem()
