"""The benchmark of telemetry: what its variants are, how its collectors behave, and what it reads of servers."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from app.core.config import Settings
from app.core.database import Database
from app.core.scopes import Scope
from app.dev.errors import DevelopmentError
from loadtests.paired.backing import UNLIMITED, Backing, fill
from loadtests.paired.ratios import again
from loadtests.paired.report import Comparison
from loadtests.paired.rounds import Plan
from loadtests.paired.servers import Server, serving
from loadtests.paired.workloads import CREATE, READ, Target
from loadtests.telemetry_tax import __main__ as command
from loadtests.telemetry_tax.collector import ANSWER, SLOW_SECONDS, Manner, listen, standing
from loadtests.telemetry_tax.collectors import STOP_BOUND, Stop, all_manners, measure_collectors, stop_table
from loadtests.telemetry_tax.said import read_metrics, said_by, said_table
from loadtests.telemetry_tax.variants import (
    COLLECTOR_COMPARISONS,
    COLLECTOR_NOISE,
    EVERYTHING,
    HANGING,
    KIT_COMPARISONS,
    KIT_NOISE,
    LOGS,
    METRICS,
    OFF,
    SIGNAL_COMPARISONS,
    SIGNAL_NOISE,
    TAKING,
    TRACES,
    collector_settings,
    gantry_variants,
    kit_variants,
    signal_settings,
)
from tests.conftest import CURSOR_KEY, PEPPER, make_key

PLAN = Plan(rounds=2, requests=20, connections=2, seed=1)
COLLECTOR = "http://127.0.0.1:4318"
URLS = dict.fromkeys(("taking", "refusing", "hanging", "slow"), COLLECTOR)

POST = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nspans"


# --- Variants ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the servers are given beside the settings of their variant."""
    given = {
        "GANTRY_DATABASE__URL": "postgresql://u:p@127.0.0.1/x",
        "GANTRY_SECURITY__KEY_PEPPERS": json.dumps([PEPPER.get_secret_value()]),
        "GANTRY_SECURITY__CURSOR_KEYS": json.dumps([CURSOR_KEY.get_secret_value()]),
        "GANTRY_LIMITS__DEFAULT": UNLIMITED,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return given


def settings_of(variables: dict[str, str]) -> Settings:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        return Settings()


def signals_of(settings: Settings) -> tuple[bool, bool, bool]:
    return settings.log.requests, settings.metrics.enabled, settings.tracing.enabled


@pytest.mark.usefixtures("base")
def test_each_variant_has_the_signals_of_its_name() -> None:
    made = {name: settings_of(variables) for name, variables in signal_settings(COLLECTOR).items()}
    assert {name: signals_of(settings) for name, settings in made.items()} == {
        OFF: (False, False, False),
        "off, again": (False, False, False),
        EVERYTHING: (True, True, True),
        "everything, again": (True, True, True),
        "everything recorded": (True, True, True),
        LOGS: (True, False, False),
        METRICS: (False, True, False),
        TRACES: (False, False, True),
    }
    assert {name for name, s in made.items() if s.tracing.endpoint == COLLECTOR} == {
        name for name, s in made.items() if s.tracing.enabled
    }
    assert made["everything recorded"].tracing.sample_ratio == 1


@pytest.mark.usefixtures("base")
def test_everything_is_what_is_shipped_and_a_collector() -> None:
    settings = settings_of(signal_settings(COLLECTOR)[EVERYTHING])
    shipped = settings_of({})
    assert settings.tracing == shipped.tracing.model_copy(update={"endpoint": COLLECTOR})
    assert (settings.log, settings.metrics) == (shipped.log, shipped.metrics)


@pytest.mark.usefixtures("base")
def test_collectors_get_every_request() -> None:
    made = {name: settings_of(variables) for name, variables in collector_settings(URLS).items()}
    assert all(signals_of(s) == (True, True, True) and s.tracing.sample_ratio == 1 for s in made.values())
    assert [name for name, s in made.items() if s.tracing.endpoint is None] == ["absent"]


@pytest.mark.parametrize(
    ("names", "comparisons", "noise"),
    [
        (list(signal_settings(COLLECTOR)), SIGNAL_COMPARISONS, SIGNAL_NOISE),
        (list(collector_settings(URLS)), COLLECTOR_COMPARISONS, COLLECTOR_NOISE),
        ([variant.name for variant in kit_variants(COLLECTOR)], KIT_COMPARISONS, KIT_NOISE),
    ],
)
def test_every_comparison_is_of_variants_that_are_measured(
    names: list[str], comparisons: list[Comparison], noise: list[Comparison]
) -> None:
    assert {name for pair in comparisons + noise for name in pair} == set(names)
    assert all(name == again(base) for name, base in noise)
    assert {base for _, base in comparisons} <= {base for _, base in noise}, "a base is measured without its noise"


def test_defaults_are_enough_pairs_to_quote() -> None:
    assert command.options([]).pairs >= 10
    assert command.options([]).output == Path("build/telemetry_tax.json")
    with pytest.raises(SystemExit):
        command.options(["--collectors", "--usual-kit"])


# --- The collector ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def connected(manner: Manner) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with await listen(manner, 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        yield reader, writer
        writer.close()
        await writer.wait_closed()


async def test_a_collector_takes_spans_again_and_again() -> None:
    ExportTraceServiceResponse.FromString(ANSWER.partition(b"\r\n\r\n")[2])
    async with connected(Manner.taking) as (reader, writer):
        for _ in range(3):
            writer.write(POST[:40])
            await writer.drain()
            writer.write(POST[40:])
            assert await reader.readexactly(len(ANSWER)) == ANSWER


async def test_a_collector_takes_nothing_but_spans() -> None:
    async with connected(Manner.taking) as (reader, writer):
        writer.write(POST.replace(b"traces", b"metrics"))
        assert (await reader.readline()).startswith(b"HTTP/1.1 404")


async def test_a_hanging_collector_never_answers() -> None:
    async with connected(Manner.hanging) as (reader, writer):
        writer.write(POST)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await reader.read(1)


async def test_a_slow_collector_answers_late() -> None:
    async with connected(Manner.slow) as (reader, writer):
        started = time.monotonic()
        writer.write(POST)
        assert await reader.readexactly(len(ANSWER)) == ANSWER
        assert time.monotonic() - started >= SLOW_SECONDS * 0.95


async def test_a_collector_of_its_own_process_takes_spans(tmp_path: Path) -> None:
    with standing(Manner.taking, tmp_path / "log") as url:
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(POST)
        assert await reader.readexactly(len(ANSWER)) == ANSWER
        writer.close()
        await writer.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))


async def test_nobody_listens_where_connections_are_refused(tmp_path: Path) -> None:
    with all_manners(tmp_path) as urls:
        assert set(urls) == set(URLS)
        host, _, port = urls["refusing"].removeprefix("http://").partition(":")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, int(port))


# --- What servers say -------------------------------------------------------------------------------------------------


def test_counts_are_read_from_the_metrics() -> None:
    shown = (
        "# TYPE gantry_spans_total counter\n"
        'gantry_spans_total{result="sent"} 1.2e+03\n'
        'gantry_spans_total{result="dropped"} 7.0\n'
        'gantry_http_request_duration_seconds_count{handler="/a",method="GET",status="200"} 40.0\n'
        'gantry_http_request_duration_seconds_count{handler="/a",method="POST",status="201"} 2.0\n'
        'gantry_http_request_size_bytes_count{handler="/a",method="POST"} 2.0\n'
    )
    said = read_metrics("v", 3, shown)
    assert (said.lines, said.requests, said.sent, said.failed, said.dropped) == (3, 42, 1200, 0, 7)
    assert "| v " in said_table([said])
    nothing = read_metrics("v", 0, "")
    assert (nothing.requests, nothing.sent) == (0, 0)


def test_a_server_that_can_not_be_asked_is_an_error() -> None:
    with pytest.raises(DevelopmentError, match="no admin port"):
        said_by(Server("common", Target(1, ""), ()))


def test_a_stop_that_takes_too_long_is_seen() -> None:
    lines = stop_table([Stop("a", STOP_BOUND - 1, 0), Stop("b", STOP_BOUND + 1, 0)]).splitlines()
    assert ["NO" in line for line in lines[2:]] == [False, True]


@pytest.fixture
async def shared(base: dict[str, str], database_url: str, database: Database) -> Backing:
    with psycopg.connect(database_url, autocommit=True) as connection:
        fill(connection)
    key = await make_key(database, Scope.items_read, Scope.items_write)
    return Backing(database_url, "", key, base | {"GANTRY_DATABASE__URL": database_url}, "18")


async def test_signals_are_measured_and_are_what_they_are_called(shared: Backing, tmp_path: Path) -> None:
    def run() -> tuple[str, dict[str, Any], list[Any]]:
        with standing(Manner.taking, tmp_path / "collector.log") as collector:
            settings = signal_settings(collector)
            chosen = {OFF: settings[OFF], "everything recorded": settings["everything recorded"]}
            comparisons: list[Comparison] = [("everything recorded", OFF)]
            with serving(gantry_variants(chosen, shared_limits=False), shared, tmp_path, None) as servers:
                tables, content = command.measured(servers, PLAN, READ, comparisons, [])
                more_tables, more = command.measured(servers, PLAN, CREATE, comparisons, [])
                time.sleep(2)  # the last spans wait for up to a second
                return tables + more_tables, content | more, [said_by(server) for server in servers]

    tables, content, (off, recorded) = await asyncio.to_thread(run)
    assert "GET /api/v1/items/{id}" in tables
    assert "POST /api/v1/items" in tables
    assert {len(content[name]["blocks"]) for name in ("read", "create")} == {8}
    assert (off.lines, off.requests, off.sent) == (0, 0, 0)
    assert recorded.lines == recorded.requests > 400
    assert recorded.sent > recorded.requests
    assert recorded.failed == recorded.dropped == 0


async def test_a_server_stops_in_time_although_its_collector_hangs(shared: Backing, tmp_path: Path) -> None:
    def run() -> tuple[str, dict[str, Any]]:
        with all_manners(tmp_path) as urls:
            settings = collector_settings(urls)
            chosen = {name: settings[name] for name in (TAKING, HANGING)}
            with serving(gantry_variants(chosen, shared_limits=False), shared, tmp_path, None) as servers:
                return measure_collectors(servers, PLAN, [(HANGING, TAKING)], [])

    tables, content = await asyncio.to_thread(run)
    assert "| hanging / taking " in tables
    taking, hanging = content["said"]
    assert taking["sent"] > 0
    assert (taking["failed"], hanging["sent"]) == (0, 0)
    assert [stop["status"] for stop in content["stops"]] == [0, 0]
    assert max(stop["seconds"] for stop in content["stops"]) < 2 * STOP_BOUND  # the machine of a test may be busy
