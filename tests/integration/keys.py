"""What the tests of API keys share: making one, using one, and time."""

import time
from typing import Any

import httpx2

from tests.conftest import CURSOR_KEY, PEPPER, Api
from tests.integration.tools import RING

KEYS = "/api/v1/api-keys"


def security(**values: Any) -> dict[str, Any]:
    """The group of settings, with values of a test."""
    return {"key_peppers": [PEPPER], "cursor_keys": [CURSOR_KEY], **values}


class Clock:
    """The time of ``app.services.callers``: it stands still, unless a test says that some has passed."""

    def __init__(self) -> None:
        self.passed = 0.0
        self._begun, self._begun_monotonic = time.time(), time.monotonic()

    def time(self) -> float:
        return self._begun + self.passed

    def monotonic(self) -> float:
        return self._begun_monotonic + self.passed


async def create(client: httpx2.AsyncClient, **fields: Any) -> dict[str, Any]:
    """The answer to making a key, with its secret."""
    answer = await client.post(KEYS, json={"name": "made", "scopes": ["users:read"], **fields})
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


def id_of(key: str) -> int:
    """The id of the key that a secret belongs to."""
    read = RING.read(key)
    assert read is not None
    return read.key_id


async def status_with(api: Api, key: str) -> int:
    """What a key is answered: 200 when it is valid."""
    async with api.client(key) as client:
        return (await client.get("/api/v1/protected")).status_code
