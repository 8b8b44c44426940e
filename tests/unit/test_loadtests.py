"""The benchmark of the uncached read: what it counts, how it compares, and that it accepts no wrong answer."""

import asyncio
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import httpx2
import psycopg
import pytest

from app.core.database import Database
from app.core.scopes import Scope
from loadtests.paired.backing import UNLIMITED, Backing, fill
from loadtests.paired.client import Client
from loadtests.paired.cpu import cpu_seconds, cpus, pinned, process_tree
from loadtests.paired.ratios import again, bootstrap, costs, latencies, paired_ratios, pooled
from loadtests.paired.report import (
    compare,
    compare_pooled,
    cost_table,
    ratio_table,
    section,
    surroundings,
    text_table,
    write,
)
from loadtests.paired.rounds import WARM_UP, Block, Plan, all_blocks, item_ids, measure, orders, run_rounds
from loadtests.paired.servers import Server, common_variant, gantry_variant, serving
from loadtests.paired.workloads import CREATE, ITEMS, READ, Target, WrongAnswer, expected_item
from loadtests.uncached_read import __main__ as command
from tests.conftest import CURSOR_KEY, PEPPER, Api, make_key

PLAN = Plan(rounds=2, requests=20, connections=2, seed=1)


def body_of(item_id: int, **changed: object) -> bytes:
    times = {"created_at": "2026-11-23T12:00:00Z", "updated_at": "2026-11-23T12:00:00Z"}
    return json.dumps({"id": item_id} | expected_item(item_id) | times | changed).encode()


def shortened(item_id: int, **changed: object) -> bytes:
    shown = json.loads(body_of(item_id, **changed))
    return json.dumps({name: value for name, value in shown.items() if name != "updated_at"}).encode()


def block(number: int, variant: str, cost_us: float) -> Block:
    return Block(number, variant, requests=100, cpu_seconds=cost_us * 100 / 1e6, wall_seconds=1.0, median_seconds=0.001)


# --- CPU time ---------------------------------------------------------------------------------------------------------


def test_cpu_time_of_a_process_is_what_it_says_itself() -> None:
    before = time.process_time()
    counted = cpu_seconds(os.getpid())
    assert before <= counted <= time.process_time()


def test_cpu_time_of_a_process_that_ended_is_an_error() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.raises(ProcessLookupError):
        cpu_seconds(child.pid)


def test_process_tree_has_children_of_children() -> None:
    script = "import subprocess; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        try:
            assert process_tree(child.pid) == [child.pid, grandchild]
        finally:
            os.kill(grandchild, 9)


def test_pinning_holds_for_the_block_and_its_children() -> None:
    before = os.sched_getaffinity(0)
    cpu = max(before)
    with pinned(cpu):
        child = subprocess.run(
            [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"],
            capture_output=True,
            text=True,
            check=True,
        )
    assert child.stdout.strip() == str({cpu})
    assert os.sched_getaffinity(0) == before
    with pinned(None):
        assert os.sched_getaffinity(0) == before


def test_one_cpu_is_not_divided() -> None:
    with pinned(max(os.sched_getaffinity(0))):
        assert cpus() == (None, None)


# --- Order and ratios -------------------------------------------------------------------------------------------------


def test_each_round_is_its_own_mirror_image() -> None:
    planned = list(orders(["a", "b", "c"], rounds=20, seed=3))
    assert all(order == order[::-1] and sorted(order) == ["a", "a", "b", "b", "c", "c"] for order in planned)
    assert len({tuple(order) for order in planned}) > 1
    assert planned == list(orders(["a", "b", "c"], rounds=20, seed=3))
    assert planned != list(orders(["a", "b", "c"], rounds=20, seed=4))


def test_items_depend_on_seed_and_round_only() -> None:
    ids = item_ids(PLAN, 1)
    assert len(ids) == WARM_UP + PLAN.requests
    assert ids == item_ids(PLAN, 1)
    assert ids != item_ids(PLAN, 2)
    assert min(ids) >= 1
    assert max(ids) <= ITEMS


def test_ratios_are_formed_within_rounds() -> None:
    # The machine is three times slower in the second round; the ratio is the same in both.
    blocks = [block(1, "a", 50), block(1, "b", 100), block(1, "b", 300), block(1, "a", 150)]
    blocks += [block(2, "b", 600), block(2, "a", 300)]
    assert costs(blocks, "b") == pytest.approx({1: 200, 2: 600})
    assert paired_ratios(blocks, "a", "b") == pytest.approx([0.5, 0.5])
    assert latencies(blocks, "b") == pytest.approx({1: 1000, 2: 1000})
    assert paired_ratios(blocks, "a", "b", latencies) == pytest.approx([1, 1])


def test_two_processes_of_a_program_can_be_compared_as_one() -> None:
    blocks = [block(1, "a", 100), block(1, again("a"), 140), block(1, "b", 60)]
    assert costs(pooled(blocks), "a") == pytest.approx({1: 120})
    found = compare_pooled(blocks, [("a", "b")], [(again("a"), "a")], seed=1)
    assert [ratio.median for ratio in found.values()] == pytest.approx([2, 1.4])


def test_bootstrap_interval_holds_the_median_and_can_be_repeated() -> None:
    ratios = [0.2, 0.21, 0.22, 0.25, 0.26, 0.27, 0.3, 0.31, 0.4, 0.2]
    found = bootstrap(ratios, seed=5)
    assert min(ratios) <= found.low < found.median < found.high <= max(ratios)
    assert found == bootstrap(ratios, seed=5)
    same = bootstrap([0.5, 0.5, 0.5], seed=5)
    assert (same.low, same.median, same.high) == (0.5, 0.5, 0.5)


# --- The client -------------------------------------------------------------------------------------------------------


def test_only_the_whole_right_item_is_accepted() -> None:
    READ.check(7, 200, body_of(7))
    for status, body in [(200, body_of(8)), (404, body_of(7)), (429, b"{}"), (200, shortened(7)), (200, b"[]")]:
        with pytest.raises(WrongAnswer):
            READ.check(7, status, body)


def test_only_a_new_item_with_the_given_members_is_accepted() -> None:
    new = ITEMS + 5
    CREATE.check(7, 201, body_of(7, id=new))
    wrong = [
        (200, body_of(7, id=new)),
        (201, body_of(7)),  # a row that was there before
        (201, body_of(8, id=new)),
        (201, shortened(7, id=new)),
        (422, b"{}"),
    ]
    for status, body in wrong:
        with pytest.raises(WrongAnswer):
            CREATE.check(7, status, body)


def test_requests_are_whole() -> None:
    target = Target(8000, "key")
    assert READ.request(target, 7).startswith(b"GET /api/v1/items/7 HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n")
    assert READ.request(target, 7).endswith(b"X-API-Key: key\r\n\r\n")
    head, _, body = CREATE.request(target, 7).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/v1/items HTTP/1.1\r\n")
    assert b"\r\nContent-Length: %d" % len(body) in head
    assert json.loads(body) == expected_item(7)


def test_a_block_of_dearer_requests_has_fewer() -> None:
    plan = Plan(rounds=2, requests=300, connections=2, seed=1)
    assert plan.for_workload(READ) == plan
    assert plan.for_workload(CREATE).requests == 100


@asynccontextmanager
async def answering(status: int = 200, *, shift: int = 0, close: bool = False) -> AsyncIterator[Target]:
    """A server that answers in two parts, perhaps with another item, or closes the connection instead."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                item_id = int(line.split()[1].rpartition(b"/")[2])
                await reader.readuntil(b"\r\n\r\n")
                if close:
                    return
                body = body_of(item_id + shift)
                writer.write(b"HTTP/1.1 %d X\r\ncontent-type: x\r\nContent-Length: %d\r\n" % (status, len(body)))
                await writer.drain()
                await asyncio.sleep(0)
                writer.write(b"\r\n" + body[:9])
                await asyncio.sleep(0.001)
                writer.write(body[9:])
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield Target(server.sockets[0].getsockname()[1], "key")


async def test_client_reads_all_items_over_its_connections() -> None:
    async with answering() as target:
        client = await Client.connect(target, READ, 3)
        assert len(await client.ask(range(1, 21))) == 20
        (seconds,) = await client.ask([5])
        assert 0.001 <= seconds < 1  # the server takes a millisecond between the parts of its answer
        client.close()


@pytest.mark.parametrize("server", [{"shift": 1}, {"status": 500}, {"close": True}])
async def test_client_accepts_no_wrong_answer(server: dict[str, int]) -> None:
    async with answering(**server) as target:  # type: ignore[arg-type]  # one of several keywords
        client = await Client.connect(target, READ, 2)
        with pytest.raises(WrongAnswer):
            await client.ask([1, 2, 3])
        client.close()


async def test_a_server_that_did_nothing_is_not_measured() -> None:
    idle = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        async with answering() as target:
            server = Server("idle", target, (idle.pid,))
            with pytest.raises(WrongAnswer, match="something else answers"):
                await measure(server, item_ids(PLAN, 1), number=1, connections=2)
    finally:
        idle.kill()
        await idle.wait()


# --- Report and command line ------------------------------------------------------------------------------------------


def test_tables_are_markdown() -> None:
    assert text_table(["x", "median"], [["long name", "1"]]) == (
        "| x         | median |\n| --------- | -----: |\n| long name |      1 |"
    )
    blocks = [block(1, "cheap", 100), block(1, "dear", 400), block(2, "dear", 500), block(2, "cheap", 110)]
    names = [line.split("|")[1].strip() for line in cost_table(blocks).splitlines()[2:]]
    assert names == ["dear", "cheap"]
    assert "| cheap / dear " in ratio_table(compare(blocks, [("cheap", "dear")], seed=1))


def test_everything_is_written(tmp_path: Path) -> None:
    blocks = [block(1, "a", 100), block(1, "b", 400)]
    path = tmp_path / "build" / "result.json"
    write(path, surroundings("18.0") | section(PLAN, blocks, compare(blocks, [("a", "b")], seed=1)))
    written = json.loads(path.read_text())
    assert written["plan"]["seed"] == 1
    assert written["versions"]["postgresql"] == "18.0"
    assert written["ratios"] == [{"of": "a", "to": "b", "median": 0.25, "low": 0.25, "high": 0.25}]
    assert [b["cpu_us_per_request"] for b in written["blocks"]] == [100, 400]


def test_every_comparison_is_of_variants_that_are_measured() -> None:
    names = [variant.name for variant in command.VARIANTS]
    assert len(set(names)) == len(names)
    assert {name for pair in command.COMPARISONS for name in pair} <= set(names)


def test_defaults_are_enough_pairs_to_quote() -> None:
    assert command.options([]).pairs >= 10
    with pytest.raises(SystemExit):
        command.options(["--parts", "--profile"])


# --- The servers ------------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(database_url: str) -> str:
    with psycopg.connect(database_url, autocommit=True) as connection:
        fill(connection)
    return database_url


@pytest.fixture
def common_ways(filled: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ModuleType, ModuleType]]:
    """Both applications, which read their setting when they are imported."""
    monkeypatch.setenv("COMMON_WAY_DATABASE_URL", filled.replace("postgresql://", "postgresql+psycopg://"))
    names = ("loadtests.common_way", "loadtests.common_way_async")
    modules = [importlib.import_module(name) for name in names]
    yield modules[0], modules[1]
    modules[0].engine.dispose()
    for name in names:
        del sys.modules[name]


async def test_all_ways_show_the_same_item(api: Api, common_ways: tuple[ModuleType, ModuleType]) -> None:
    shown = []
    async with api.client() as ours:
        shown.append(await ours.get("/api/v1/items/4711"))
    for module in common_ways:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=module.app), base_url="http://common.test"
        ) as theirs:
            shown.append(await theirs.get("/api/v1/items/4711"))
            missing = await theirs.get(f"/api/v1/items/{ITEMS + 1}")
        assert missing.status_code == 404
    await common_ways[1].engine.dispose()
    for answer in shown:
        READ.check(4711, answer.status_code, answer.content)
    assert shown[0].json() == shown[1].json() == shown[2].json()


async def test_servers_are_measured(filled: str, database: Database, tmp_path: Path) -> None:
    settings = {
        "GANTRY_DATABASE__URL": filled,
        "GANTRY_SECURITY__KEY_PEPPERS": json.dumps([PEPPER.get_secret_value()]),
        "GANTRY_SECURITY__CURSOR_KEYS": json.dumps([CURSOR_KEY.get_secret_value()]),
        "GANTRY_LIMITS__DEFAULT": UNLIMITED,
    }
    key = await make_key(database, Scope.items_read, Scope.items_write)
    variants = [gantry_variant("gantry", shared_limits=False), common_variant("common", "loadtests.common_way")]

    def run() -> tuple[list[Block], list[Block]]:
        with serving(variants, Backing(filled, "", key, settings, "18"), tmp_path, None) as servers:
            return all_blocks(servers, PLAN), list(run_rounds(servers[:1], PLAN, CREATE))

    blocks, creating = await asyncio.to_thread(run)
    assert sorted(b.variant for b in blocks) == ["common"] * 4 + ["gantry"] * 4
    assert [b.variant for b in creating] == ["gantry"] * 4
    blocks += creating
    assert all(
        b.cpu_seconds > 0 and 0 < b.median_seconds < b.wall_seconds and b.requests == PLAN.requests for b in blocks
    )
    assert '"route":"/api/v1/items/{item_id}"' in (tmp_path / "0.log").read_text()
