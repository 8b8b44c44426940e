"""Rate limits on a real Valkey: exact across processes, and served in time however the store is lost."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import limits
import pytest
import redis
import structlog
import uvloop
from pydantic import SecretStr
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.testing import LogCapture

from app.core.config import LimitSettings
from app.core.limits import Policy, RateLimiter, Source, Verdict, shared
from app.dev.binaries import find_valkey

HOURLY = Policy("default", limits.parse("100/hour"))
PATIENT = 10.0
"""Seconds: a time-out that this machine's load can't make a lost store of."""
TIMEOUT = 0.05
RETRY = 0.25
IN_TIME = 0.5
"""Seconds: far above the time-out, for a busy machine, and far below what a client without time-outs would wait."""


class Store:
    """A Valkey server of a test's own, on a free port; it keeps nothing."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.unix_socket = directory / "valkey.sock"
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command: list[str | Path] = [find_valkey(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--dir", self._directory, "--unixsocket", self.unix_socket, *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return
            except ConnectionRefusedError:
                assert self._process.poll() is None, "Valkey did not start"
                assert time.monotonic() < deadline
                time.sleep(0.01)

    def _signal(self, number: int) -> None:
        assert self._process
        os.kill(self._process.pid, number)

    def pause(self) -> None:
        """It accepts connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def command(self, *arguments: Any) -> Any:
        with redis.Redis.from_url(self.url, protocol=2) as client:
            return client.execute_command(*arguments)


@pytest.fixture
def own_store(tmp_path: Path) -> Iterator[Store]:
    """A store that a test may hurt; not started yet."""
    store = Store(tmp_path)
    yield store
    store.kill()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("valkey"))
    store.start()
    yield store
    store.kill()


@pytest.fixture
def store(running: Store) -> Store:
    """A healthy and empty store."""
    running.command("FLUSHALL")
    running.command("SCRIPT", "FLUSH")
    return running


type Maker = Callable[..., RateLimiter]


@pytest.fixture
async def make() -> AsyncIterator[Maker]:
    """Makes limiters that are closed in the end."""
    async with AsyncExitStack() as stack:

        def make(url: str, *, timeout: float = PATIENT, workers: int = 1, verdicts: Any = None) -> RateLimiter:
            settings = LimitSettings(url=SecretStr(url), timeout=timeout, retry_after_failure=RETRY)
            limiter = RateLimiter(settings, workers, ([] if verdicts is None else verdicts).append)
            stack.push_async_callback(limiter.aclose)
            return limiter

        yield make


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    capture = LogCapture()
    monkeypatch.setattr(shared, "log", structlog.wrap_logger(None, processors=[merge_contextvars, capture]))
    return capture.entries


def events(logs: list[Any]) -> list[tuple[str, str]]:
    return [(entry["log_level"], entry["event"]) for entry in logs]


async def timed(limiter: RateLimiter, caller: str = "caller") -> tuple[Source, float]:
    """Who counted, and the seconds it took."""
    start = time.monotonic()
    verdict = await limiter.hit(HOURLY, caller)
    return verdict.source, time.monotonic() - start


PROCESS = """
import asyncio, sys
import limits, uvloop
from pydantic import SecretStr
from app.core.config import LimitSettings
from app.core.limits import Policy, RateLimiter

async def client(url, policy, verdicts):
    limiter = RateLimiter(LimitSettings(url=SecretStr(url), timeout=10), 2, verdicts.append)
    for _ in range(100):
        await limiter.hit(policy, "caller")
    await limiter.aclose()

async def main(url):
    policy, verdicts = Policy("default", limits.parse("500/hour")), []
    print("ready", flush=True)
    sys.stdin.readline()
    await asyncio.gather(*(client(url, policy, verdicts) for _ in range(4)))
    assert {verdict.source for verdict in verdicts} == {"shared"}
    print(sum(verdict.allowed for verdict in verdicts))

uvloop.run(main(sys.argv[1]))
"""


def test_processes_and_clients_together_get_the_quota_exactly(store: Store) -> None:
    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROCESS, store.url]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    with start() as one, start() as other:
        for process in (one, other):
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in (one, other):
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        allowed = [int(process.communicate(timeout=30)[0]) for process in (one, other)]
    assert sum(allowed) == 500


async def test_the_headers_come_from_the_shared_count(store: Store, make: Maker) -> None:
    policy = Policy("example", limits.parse("2/minute"))
    one, other = make(store.url), make(store.url)
    first, second, third = await one.hit(policy, "a"), await other.hit(policy, "a"), await one.hit(policy, "a")
    assert first.headers() == [
        (b"ratelimit-policy", b'"example";q=2;w=60'),
        (b"ratelimit", b'"example";r=1;t=60'),
    ]
    assert (second.allowed, second.remaining) == (True, 0)
    assert third.headers() == [
        (b"ratelimit-policy", b'"example";q=2;w=60'),
        (b"ratelimit", b'"example";r=0;t=60'),
        (b"retry-after", b"60"),
    ]


async def test_a_window_ends(store: Store, make: Maker) -> None:
    limiter, policy = make(store.url), Policy("default", limits.parse("1/second"))
    assert (await limiter.hit(policy, "caller")).allowed
    start = time.monotonic()
    while not (await limiter.hit(policy, "caller")).allowed:
        assert time.monotonic() - start < 5
        await asyncio.sleep(0.02)
    assert time.monotonic() - start > 0.9  # refused hits did not extend it, and it was not cut short


async def test_keys_are_namespaced_and_bounded(store: Store, make: Maker) -> None:
    limiter = make(store.url)
    for caller in ("key:42", "x" * 100_000, "\ud800"):
        assert (await limiter.hit(HOURLY, caller)).remaining == 99
    keys = store.command("KEYS", "*")
    assert b"gantry:limit:default:3600:key:42" in keys
    assert len(keys) == 3
    assert max(map(len, keys)) < 150
    assert all(3_590_000 < store.command("PTTL", key) <= 3_600_000 for key in keys)


@pytest.mark.parametrize(
    "broken", [("SET", 100), ("SET", "text"), ("RPUSH", "an", "array")], ids=["no end", "no number", "no counter"]
)
async def test_a_broken_counter_is_mended(
    store: Store, make: Maker, logs: list[Any], broken: tuple[str | int, ...]
) -> None:
    """A counter without an end would refuse its caller for ever."""
    key = "gantry:limit:default:3600:caller"
    store.command(broken[0], key, *broken[1:])
    limiter = make(store.url)
    verdict = await limiter.hit(HOURLY, "caller")
    assert (verdict.source, verdict.reset) == ("shared", 3600)
    assert verdict.allowed == (broken != ("SET", 100))
    assert 0 < store.command("PTTL", key) <= 3_600_000
    assert (await limiter.hit(HOURLY, "caller")).remaining == (98 if verdict.allowed else 0)
    assert not logs


async def test_a_burst_needs_one_connection(store: Store, make: Maker) -> None:
    limiter = make(store.url)
    before = store.command("INFO", "stats")["total_connections_received"]
    verdicts = await asyncio.gather(*(limiter.hit(HOURLY, f"caller {n % 20}") for n in range(2000)))
    assert {verdict.source for verdict in verdicts} == {"shared"}
    assert sorted(verdict.remaining for verdict in verdicts) == sorted(list(range(100)) * 20)
    assert store.command("INFO", "stats")["total_connections_received"] - before == 2  # the other asks for this


async def test_a_store_that_forgets_its_scripts_is_not_lost(store: Store, make: Maker, logs: list[Any]) -> None:
    limiter = make(store.url)
    for remaining in (99, 98):
        store.command("SCRIPT", "FLUSH")
        verdicts = await asyncio.gather(*(limiter.hit(HOURLY, f"caller {n}") for n in range(10)))
        assert {(verdict.source, verdict.remaining) for verdict in verdicts} == {("shared", remaining)}
    assert not logs


async def test_a_connection_that_the_store_closed_while_idle_is_replaced(
    store: Store, make: Maker, logs: list[Any]
) -> None:
    limiter = make(store.url)
    await limiter.hit(HOURLY, "caller")
    store.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await asyncio.sleep(0.05)
    assert (await limiter.hit(HOURLY, "caller")).remaining == 98
    assert not logs


async def test_any_url_of_a_store_is_understood(tmp_path: Path, make: Maker) -> None:
    store = Store(tmp_path, "--requirepass", "secret")
    store.start()
    try:
        for url in (f"redis://:secret@127.0.0.1:{store.port}/3", f"unix://:secret@{store.unix_socket}?db=3"):
            verdict = await make(url).hit(HOURLY, "caller")
            assert verdict.source == "shared"
        assert verdict.remaining == 98
    finally:
        store.kill()


async def assert_served_without(limiter: RateLimiter, logs: list[Any]) -> None:
    """Served in time by the worker itself, quickly after the first, and logged once."""
    source, seconds = await timed(limiter)
    assert source == "failed_open"
    assert seconds < IN_TIME
    start = time.monotonic()
    sources = [(await timed(limiter))[0] for _ in range(50)]
    assert time.monotonic() - start < IN_TIME
    assert set(sources) == {"failed_open"}
    await asyncio.sleep(RETRY * 1.1)
    source, seconds = await timed(limiter)  # this one tries the store again
    assert source == "failed_open"
    assert seconds < IN_TIME
    assert events(logs) == [("warning", "limit_store_lost")]


async def assert_found(limiter: RateLimiter, logs: list[Any]) -> None:
    """The store is used again after at most the time it is left alone, logged once."""
    await asyncio.sleep(RETRY * 1.1)
    assert {(await timed(limiter))[0] for _ in range(5)} == {"shared"}
    assert events(logs) == [("warning", "limit_store_lost"), ("info", "limit_store_back")]
    assert logs[1]["lost_seconds"] > 0


async def test_a_store_that_never_started(own_store: Store, make: Maker, logs: list[Any]) -> None:
    limiter = make(own_store.url, timeout=TIMEOUT)
    await assert_served_without(limiter, logs)
    own_store.start()
    await assert_found(limiter, logs)


async def test_a_store_that_is_killed_and_comes_back(own_store: Store, make: Maker, logs: list[Any]) -> None:
    own_store.start()
    limiter = make(own_store.url, timeout=TIMEOUT)
    assert (await timed(limiter))[0] == "shared"
    own_store.kill()
    await assert_served_without(limiter, logs)
    own_store.start()
    await assert_found(limiter, logs)


async def test_a_store_that_hangs(own_store: Store, make: Maker, logs: list[Any]) -> None:
    own_store.start()
    limiter = make(own_store.url, timeout=TIMEOUT)
    assert (await timed(limiter))[0] == "shared"
    own_store.pause()
    hits = await asyncio.gather(*(timed(limiter) for _ in range(50)))
    assert {source for source, _ in hits} == {"failed_open"}
    assert all(TIMEOUT * 0.9 < seconds < IN_TIME for _, seconds in hits)  # none waits for another's time-out
    await assert_served_without(limiter, logs)
    own_store.resume()
    await assert_found(limiter, logs)


async def test_hits_that_queue_behind_a_hung_one_fail_with_it(own_store: Store, make: Maker) -> None:
    own_store.start()
    limiter = make(own_store.url, timeout=0.3)
    await limiter.hit(HOURLY, "caller")
    own_store.pause()
    first = asyncio.create_task(timed(limiter))
    await asyncio.sleep(0.15)
    source, seconds = await timed(limiter)
    assert source == "failed_open"
    assert seconds < 0.25  # what was left of the first's time-out, not one of its own
    await first


async def test_only_one_request_tries_a_lost_store(own_store: Store, make: Maker) -> None:
    own_store.start()
    own_store.pause()
    limiter = make(own_store.url, timeout=TIMEOUT)
    await timed(limiter)
    await asyncio.sleep(RETRY * 1.1)
    hits = await asyncio.gather(*(timed(limiter) for _ in range(20)))
    assert sum(seconds > TIMEOUT * 0.9 for _, seconds in hits) == 1


async def test_a_store_whose_host_does_not_answer(make: Maker, logs: list[Any]) -> None:
    """As behind a firewall that drops packets: connecting itself hangs."""
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):  # the kernel's queue is full, and it drops the next
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        limiter = make(f"redis://127.0.0.1:{listener.getsockname()[1]}", timeout=TIMEOUT)
        await assert_served_without(limiter, logs)


@pytest.mark.parametrize(
    ("hurt", "heal"),
    [
        ([("CONFIG", "SET", "maxmemory", "1")], ("CONFIG", "SET", "maxmemory", "0")),
        ([("REPLICAOF", "127.0.0.1", "1")], ("REPLICAOF", "NO", "ONE")),
        ([("ACL", "SETUSER", "default", "-evalsha")], ("ACL", "SETUSER", "default", "+@all")),
    ],
    ids=["full", "read-only", "forbidden"],
)
async def test_a_store_that_refuses_to_write(
    own_store: Store, make: Maker, logs: list[Any], hurt: list[tuple[str, ...]], heal: tuple[str, ...]
) -> None:
    own_store.start()
    limiter = make(own_store.url, timeout=TIMEOUT)
    assert (await timed(limiter))[0] == "shared"
    for command in hurt:
        own_store.command(*command)
    await assert_served_without(limiter, logs)
    own_store.command(*heal)
    await assert_found(limiter, logs)


@asynccontextmanager
async def answering(answer: Callable[[bytes], bytes]) -> AsyncIterator[tuple[str, list[asyncio.StreamWriter]]]:
    """A server that answers whatever comes with ``answer``: its URL, and the connections that it was asked for."""
    connections: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        with suppress(ConnectionError):
            while asked := await reader.read(65536):
                writer.write(answer(asked))
                await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections
    finally:
        server.close()
        for writer in connections:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@pytest.mark.parametrize(
    "answer",
    [
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-NOAUTH Authentication required.\r\n",
        b"-MOVED 1234 127.0.0.1:1\r\n",
        b"+OK\r\n",
        b"*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"*1\r\n:1\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\xff",
    ],
)
async def test_a_store_that_answers_something_else(make: Maker, logs: list[Any], answer: bytes) -> None:
    async with answering(lambda _: answer) as (url, connections):
        limiter = make(url, timeout=TIMEOUT)
        await assert_served_without(limiter, logs)
        assert len(connections) == 2  # the first hit's, and that of the one which tried again


async def test_a_store_that_keeps_no_script(make: Maker, logs: list[Any]) -> None:
    def answer(asked: bytes) -> bytes:
        return b"+OK\r\n" if b"LOAD" in asked else b"-NOSCRIPT No matching script.\r\n" * asked.count(b"EVALSHA")

    async with answering(answer) as (url, _):
        limiter = make(url, timeout=TIMEOUT)
        await assert_served_without(limiter, logs)
    assert logs[0]["error"].startswith("NoScriptError")


async def test_a_lost_store_leaves_each_worker_its_share(own_store: Store, make: Maker) -> None:
    verdicts: list[Verdict] = []
    limiter = make(own_store.url, timeout=TIMEOUT, workers=4, verdicts=verdicts)
    policy = Policy("default", limits.parse("10/hour"))
    for _ in range(3):
        await limiter.hit(policy, "caller")
    assert [(verdict.source, verdict.allowed) for verdict in verdicts] == [
        ("failed_open", True),
        ("failed_open", True),
        ("failed_open", False),
    ]
    assert verdicts[-1].headers() == [
        (b"ratelimit-policy", b'"default";q=2;w=3600'),
        (b"ratelimit", b'"default";r=0;t=3600'),
        (b"retry-after", b"3600"),
    ]


async def test_the_log_names_the_cause_and_no_secret_and_no_request(
    own_store: Store, make: Maker, logs: list[Any]
) -> None:
    own_store.start()
    with bound_contextvars(request_id="of whoever came first"):
        await make(f"redis://user:hidden@127.0.0.1:{own_store.port}/0").hit(HOURLY, "caller")
    own_store.pause()
    await make(own_store.url, timeout=TIMEOUT).hit(HOURLY, "caller")
    own_store.kill()
    await make(own_store.url).hit(HOURLY, "caller")
    assert [entry["error"].partition(":")[0] for entry in logs] == [
        "AuthenticationError",
        "TimeoutError",
        "ConnectionError",
    ]
    assert not any("hidden" in str(entry) or "request_id" in entry for entry in logs)


async def test_a_cancelled_hit_leaves_its_answer_to_nobody(own_store: Store, make: Maker) -> None:
    own_store.start()
    limiter = make(own_store.url)
    for _ in range(5):
        await limiter.hit(HOURLY, "one")
    own_store.pause()
    hit = asyncio.create_task(limiter.hit(HOURLY, "one"))
    await asyncio.sleep(0.05)  # it is sent, and not answered
    hit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hit
    own_store.resume()
    verdict = await limiter.hit(HOURLY, "other")
    assert (verdict.source, verdict.remaining) == ("shared", 99)
    assert (await limiter.hit(HOURLY, "one")).remaining == 93


async def test_hits_cancelled_at_any_time_are_counted_and_confuse_nobody(
    store: Store, make: Maker, logs: list[Any]
) -> None:
    limiter, random, cancelled = make(store.url), Random(7), 0

    async def caller(name: str) -> None:
        nonlocal cancelled
        for _ in range(50):
            try:
                async with asyncio.timeout(random.uniform(0, 0.003)):
                    await limiter.hit(HOURLY, name)
            except TimeoutError:
                cancelled += 1

    names = [f"caller {n}" for n in range(20)]
    await asyncio.gather(*map(caller, names))
    assert cancelled > 50
    assert [(await limiter.hit(HOURLY, name)).remaining for name in names] == [49] * 20
    assert not logs


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_pause_of_this_process_is_not_taken_for_the_stores(
    store: Store, logs: list[Any], loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def hit_while_the_loop_is_blocked() -> Source:
        settings = LimitSettings(url=SecretStr(store.url), timeout=0.5)
        limiter = RateLimiter(settings, 1, lambda _: None)
        await limiter.hit(HOURLY, "caller")
        store.pause()
        hit = asyncio.create_task(limiter.hit(HOURLY, "caller"))
        await asyncio.sleep(0.02)  # it is sent
        store.resume()
        time.sleep(0.6)  # noqa: ASYNC251 - the blocked loop; the answer comes meanwhile
        verdict = await hit
        await limiter.aclose()
        return verdict.source

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(hit_while_the_loop_is_blocked()) == "shared"
    assert not logs


@pytest.mark.parametrize("sent", [False, True])
async def test_closing_leaves_no_hit_waiting(own_store: Store, make: Maker, sent: bool) -> None:
    own_store.start()
    limiter = make(own_store.url)
    await limiter.hit(HOURLY, "caller")
    own_store.pause()
    hit = asyncio.create_task(limiter.hit(HOURLY, "caller"))
    await asyncio.sleep(0.05 if sent else 0)
    await limiter.aclose()
    async with asyncio.timeout(1):
        assert (await hit).source == "failed_open"


AWKWARD = "/p@ss:w%6Frd?#[]&+=\"'\\ \t\u00e9{}"
"""Each of these would have to be written in another way in a URL."""


@pytest.mark.parametrize(("name", "counted"), [("", True), ("gantry", True), ("stranger", False)])
async def test_a_password_apart_from_the_url_needs_no_escaping(own_store: Store, name: str, counted: bool) -> None:
    own_store.start()
    own_store.command("ACL", "SETUSER", "gantry", "on", ">" + AWKWARD, "allkeys", "+@all")
    own_store.command("CONFIG", "SET", "requirepass", AWKWARD)
    url = own_store.url.replace("://", f"://{name}@") if name else own_store.url
    for password, source in ((AWKWARD, "shared" if counted else "failed_open"), (AWKWARD + "x", "failed_open")):
        settings = LimitSettings(
            url=SecretStr(url), password=SecretStr(password), timeout=PATIENT, retry_after_failure=RETRY
        )
        limiter = RateLimiter(settings, 1, lambda _: None)
        assert (await limiter.hit(HOURLY, "somebody")).source == source
        await limiter.aclose()
