"""pgbouncer pools: two hundred clients share twenty connections of PostgreSQL, with prepared statements and without an error."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e.cluster import (
    RELEASE,
    finished,
    get,
    kubectl,
    labels,
    names,
    probe_pod,
    psql,
    start,
    wait_for_pods,
    wait_until,
    wait_until_gone,
)
from tests.e2e.load import Load, running_load
from tests.e2e.release import Release

CLIENTS = 200
SERVERS = 20
# The API's own connections, as it makes them: its driver, its settings, its way of preparing statements.
USERS = """
import asyncio, json, os, sys, time
from sqlalchemy import text
from app.core.database import Database
from app.core.loading import load_settings

CLIENTS, SECONDS, DIRECT = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "direct"

async def main():
    settings = load_settings().database
    url = settings.direct_url if DIRECT else settings.url
    database = Database(settings.model_copy(update={"url": url, "pool_size": CLIENTS}))
    await asyncio.sleep(6)  # a network policy takes a moment to hold for a new pod
    await database.settle_prepared_statements()
    together, errors, done, prepared = asyncio.Barrier(CLIENTS), [], 0, 0
    async def user(number):
        nonlocal done, prepared
        try:
            # All connections are there, at the same time, before the first is used in earnest.
            async with database.engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
                await together.wait()
                until = time.monotonic() + SECONDS
                while time.monotonic() < until:
                    for _ in range(6):
                        found = await connection.scalar(text("SELECT CAST(:number AS int) * 2"), {"number": number})
                        assert found == number * 2, found
                    statements = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'PGBOUNCER%'"
                    prepared = max(prepared, await connection.scalar(text(statements)))
                    done += 7
                    await asyncio.sleep(0.2)
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}"[:300])
            await together.abort()
    await asyncio.gather(*(user(number) for number in range(CLIENTS)))
    await database.aclose()
    print(json.dumps({"clients": CLIENTS, "statements": done, "prepared": prepared, "prepares": database.prepares,
                      "errors": len(errors), "first_error": next((e for e in errors if "Barrier" not in e), "")}))

asyncio.run(main())
"""


class Connections:
    """The most connections that PostgreSQL had from the application at any time, and of how many pods."""

    def __init__(self) -> None:
        self.most, self.samples = 0, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def _sample(self) -> None:
        count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'gantry' AND backend_type = 'client backend'"
        while not self._over.wait(0.3):
            self.most = max(self.most, int(psql(count)[0]))
            self.samples += 1

    @contextmanager
    def counted(self) -> Iterator["Connections"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._thread.join()


def users(release: Release, clients: int, seconds: int, way: str, component: str) -> dict[str, Any]:
    """Run them in a pod with the environment of the API, and the labels that the network policies ask for."""
    (api,) = (
        c for c in get("deployment", f"{RELEASE}-api")["spec"]["template"]["spec"]["containers"] if c["name"] == "api"
    )
    command = ["python", "-c", USERS, str(clients), str(seconds), way]
    given = {name: api[name] for name in ("env", "envFrom")}
    start(probe_pod(f"users-{way}", command, image=release.image, pod_labels=labels(component), **given))
    phase, output = finished(f"users-{way}", seconds=seconds + 90)
    assert phase == "Succeeded", output
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def test_two_hundred_clients_share_twenty_connections(
    release: Release, arrivals: Callable[..., Load], keep: Callable[..., None]
) -> None:
    release.steady()
    with running_load(arrivals(40, part=0.2)) as load, Connections().counted() as connections:
        found = users(release, CLIENTS, 15, "pooled", "test")
        summary = load.finish()
    keep(**found, most_connections=connections.most, samples=connections.samples, api_requests=summary.requests)
    assert found["errors"] == 0, found["first_error"]
    assert found["statements"] >= CLIENTS * 7
    assert found["prepares"] is True
    assert found["prepared"] > 0, "pgbouncer has prepared no statement on a connection of PostgreSQL"
    assert 0 < connections.most <= SERVERS
    assert connections.samples >= 10
    assert summary.failed == 0, summary.log


def test_without_the_pooler_they_are_too_many(release: Release, keep: Callable[..., None]) -> None:
    """The control: the same clients, past it."""
    found = users(release, CLIENTS, 2, "direct", "migrations")
    keep(errors=found["errors"], first_error=found["first_error"].splitlines()[0][-120:])
    assert found["errors"] > 0
    assert "connection slots" in found["first_error"] or "too many clients" in found["first_error"]


def test_a_pooler_that_is_restarted_is_noticed_by_nobody(
    release: Release, arrivals: Callable[..., Load], keep: Callable[..., None]
) -> None:
    release.steady()
    with running_load(arrivals(75)) as load:
        for pod in names("pgbouncer"):
            kubectl("delete", "pod", pod, "--wait=false")
            wait_for_pods("pgbouncer", 2, 60)
        wait_until_gone("pgbouncer", 70)
        assert load.running, "the load was over before the poolers had gone"
        summary = load.finish()
    keep(**summary.figures())
    assert summary.failed == 0, summary.log


def test_one_that_is_killed_is_noticed(
    release: Release, arrivals: Callable[..., Load], keep: Callable[..., None]
) -> None:
    """The control: without the time in which its clients move, requests that are under way fail."""
    with running_load(arrivals(40, part=0.8)) as load:
        until_over = 0
        while load.running and until_over < 6:
            kubectl("delete", "pod", *names("pgbouncer"), "--grace-period=0", "--force")
            wait_until("a pooler", lambda: names("pgbouncer"), 60)
            until_over += 1
        summary = load.finish()
    keep(**summary.figures())
    wait_for_pods("pgbouncer", 2)
    assert summary.failed > 0
