"""Run as a script by ``test_server.py``: the server of ``gantry serve`` around a small app that shows what the server does.

Its argument is the settings, as JSON.
"""

import asyncio
import logging
import os
import sys
import time
import warnings

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.background import every, running, ticking
from app.core.config import Settings
from app.core.logging import configure_logging
from app.core.server.run import prepare_runtime, run_server
from app.core.server.signals import signals_held
from app.core.status import TICK_SECONDS, ProcessStatus
from app.core.telemetry.current import CurrentRequest, current_request

REQUEST_ID = "request-1"

SERIES = 300
"""Of 17 samples each: two histograms have more than ten thousand."""


def make_app(settings: Settings, status: ProcessStatus) -> ASGIApp:
    """The app. Variations are named in the settings' ``public_url``, which means nothing to a server."""
    from prometheus_client import Counter, Gauge, Histogram

    from app.core.telemetry.exemplars import Exemplars

    variation = settings.http.public_url or ""
    if "broken-factory" in variation or ("broken-when-draining" in variation and status.draining()):
        raise RuntimeError("the factory is broken")
    requests = Counter("test_requests", "Requests.")
    live = Gauge("test_live", "A gauge of live processes.", multiprocess_mode="liveall")
    live.set(1)
    seconds_taken = Histogram("test_seconds", "Seconds.", ["route"])
    exemplars = Exemplars(status.exemplars_file)
    if "many-series" in variation:
        make_series()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            async with running(ticking(TICK_SECONDS, status.tick), every(0.05, exemplars.flush)):
                await run_lifespan(variation, status, receive, send)
            status.ticks_end()
            return
        requests.inc()
        path = scope["path"]
        if path.startswith("/took/"):
            seconds, trace_id = path.split("/")[2:]
            seconds_taken.labels("took").observe(float(seconds))
            exemplars.note("test_seconds", {"route": "took"}, float(seconds), trace_id)
        match path.split("/")[1:]:
            case ["slow", seconds]:
                print("a slow request has begun", flush=True)
                await asyncio.sleep(float(seconds))
            case ["stuck", seconds]:
                time.sleep(float(seconds))  # noqa: ASYNC251 - a blocked event loop is what is wanted
            case ["crash"]:
                raise RuntimeError("a defect")
            case ["schema"]:
                status.schema_seen(1)
            case ["say", count]:
                say(int(count))
            case ["early"]:
                await answer(send, b"early", (b"connection", b"close"))
                return
        lines = [
            f"pid={os.getpid()}",
            f"path={path}",
            f"query={scope['query_string'].decode()}",
            f"draining={status.draining()}",
            f"workers={status.workers}",
        ]
        await answer(send, "\n".join(lines).encode())

    return app


def say(count: int) -> None:
    """Say things as a request would, by each way there is."""
    current_request.set(CurrentRequest(REQUEST_ID, "a" * 32))
    logging.getLogger("somebody").warning("said by a library")
    logging.getLogger("alembic.runtime.migration").warning("said by Alembic")
    warnings.warn("old ways", DeprecationWarning, stacklevel=1)
    for n in range(count):
        structlog.get_logger("gantry.test").info("said", n=n, padding="." * (n * 37 % 2000))


def make_series() -> None:
    """As many as a large API has."""
    from prometheus_client import Histogram

    from app.core.telemetry.catalogue import SECONDS

    for name in ("test_first", "test_second"):
        many = Histogram(name, "Many series.", ["route", "method", "status"], buckets=SECONDS)
        for number in range(SERIES):
            many.labels(f"/api/v1/things/{{thing_id}}/parts/{number}", "GET", "200").observe(number / SERIES)


async def run_lifespan(variation: str, status: ProcessStatus, receive: Receive, send: Send) -> None:
    """The app's lifespan."""
    await receive()
    if "broken-lifespan" in variation:
        await send({"type": "lifespan.startup.failed", "message": "the lifespan is broken"})
        return
    if "schema-later" not in variation:
        status.schema_seen(1)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("lifespan has ended", flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def answer(send: Send, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """200 with a body."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """What ``gantry serve`` does."""
    with signals_held():
        serve()


def serve() -> None:
    """Load, then run."""
    settings = Settings.model_validate_json(sys.argv[1])
    if "slow-fork" in (settings.http.public_url or ""):
        os.register_at_fork(after_in_child=lambda: time.sleep(1))
    prepare_runtime(settings)
    if "slow-load" in (settings.http.public_url or ""):
        print("loading", flush=True)
        time.sleep(1)
    from app.api.problems import problem_body
    from app.core.server import snapshot

    if "slow-snapshots" not in (settings.http.public_url or ""):
        snapshot.PERIOD_SECONDS = 0.02  # type: ignore[misc]  # so that tests need not wait for what they look for

    if "own-logs" in (settings.http.public_url or ""):
        configure_logging(settings.log, buffered=True)
    else:
        logging.basicConfig(
            stream=sys.stdout, level=logging.INFO, format="log %(process)d %(name)s %(levelname)s %(message)s"
        )
    run_server(settings, make_app, problem_body)


if __name__ == "__main__":
    main()
