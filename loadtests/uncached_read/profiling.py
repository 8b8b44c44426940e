"""Where our time goes: the application in this process, without sockets, under the standard library's profiler."""

import asyncio
import cProfile
import os
import pstats
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import uvloop

from app.core.loading import load_settings
from loadtests.paired.backing import Backing
from loadtests.paired.rounds import WARM_UP, Plan, item_ids
from loadtests.paired.workloads import READ, Target

SHOWN = 40
"""Functions of the list."""


def profile(backing: Backing, plan: Plan) -> None:
    """Print the functions that took most time by themselves. The profiler makes every call dearer: the order says more than the times."""
    settings = backing.settings | {"GANTRY_LIMITS__URL": backing.valkey_url}
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, settings):
        # As under `gantry serve`: values in files. It has to be set before prometheus_client is imported.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        with (Path(folder) / "log").open("w") as log, cProfile.Profile() as profiler:
            profiler.disable()
            asyncio.run(_drive(backing.key, plan, log, profiler), loop_factory=uvloop.new_event_loop)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(SHOWN)


async def _drive(key: str, plan: Plan, log: Any, profiler: cProfile.Profile) -> None:
    from app.core.logging import configure_logging
    from app.main import create_app

    settings = load_settings()
    configure_logging(settings.log, log)
    app = create_app(settings)
    async with app.router.lifespan_context(app) as state:

        async def read(item_id: int) -> None:
            answer: list[Any] = []

            async def send(message: Any) -> None:
                answer.append(message)

            await app(_scope(key, item_id, dict(state or {})), _receive, send)
            assert answer[0]["status"] == 200, answer

        async def reader(ids: Iterator[int]) -> None:
            for item_id in ids:
                await asyncio.create_task(read(item_id))  # a server, too, makes a task for each request

        async def read_all(ids: list[int]) -> None:
            shared = iter(ids)
            await asyncio.gather(*(reader(shared) for _ in range(plan.connections)))

        ids = item_ids(plan, 1)
        await read_all(ids[:WARM_UP])
        profiler.enable()
        await read_all(ids[WARM_UP:])
        profiler.disable()


async def _receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


def _scope(key: str, item_id: int, state: dict[str, Any]) -> dict[str, Any]:
    line, *lines = READ.request(Target(8000, key), item_id).decode().strip().split("\r\n")
    path = line.split()[1]
    headers = [(name.lower().encode(), value.encode()) for name, value in (h.split(": ", 1) for h in lines)]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
        "state": state,
    }
