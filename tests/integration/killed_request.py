"""Run as a script by ``test_retries.py``: a process that makes one user under an Idempotency-Key, to be killed while it does.

Arguments: the database's URL, the caller's key, the Idempotency-Key.
"""

import asyncio
import sys

from tests.conftest import live, make_settings
from tests.integration.tools import ADA


async def main(url: str, key: str, idempotency_key: str) -> None:
    """Send the request."""
    settings = make_settings(url, retries={"wait_seconds": 60.0}, http={"deadline": 60.0})
    async with live(settings, with_key=False) as api, api.client(key) as client:
        await client.post("/api/v1/users", json=ADA, headers={"Idempotency-Key": idempotency_key})


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
