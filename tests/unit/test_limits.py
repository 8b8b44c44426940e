"""Rate limits without a store: what a policy and a verdict say, and counting in one worker."""

import asyncio
import threading
import time
import traceback
from types import SimpleNamespace

import limits
import pytest
from limits.aio.storage import memory as library_memory
from pydantic import SecretStr

from app.core.config import LimitSettings
from app.core.limits import Policy, RateLimiter, Verdict, limiter, memory
from app.core.limits.memory import BoundedMemoryStorage
from app.core.limits.shared import SharedCounters

TEN_A_MINUTE = Policy("default", limits.parse("10/minute"))


class Clock:
    """``time.time`` for the storage and the library's strategy, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (memory, library_memory, limiter):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=clock.time))
    return clock


def worker(workers: int = 1, verdicts: list[Verdict] | None = None) -> RateLimiter:
    return RateLimiter(LimitSettings(), workers, ([] if verdicts is None else verdicts).append)


@pytest.mark.parametrize(
    ("name", "rate", "header"),
    [
        ("default", "600/minute", b'"default";q=600;w=60'),
        ("sending", "10 per 2 hours", b'"sending";q=10;w=7200'),
        ('a "b" \\c', "1/second", b'"a \\"b\\" \\\\c";q=1;w=1'),
    ],
)
def test_a_policy_says_its_name_quota_and_window(name: str, rate: str, header: bytes) -> None:
    assert Policy(name, limits.parse(rate)).header == header


@pytest.mark.parametrize("name", ["", "a" * 65, "two:parts", "line\n", "caf\u00e9", "\x7f"])
def test_a_name_that_no_header_or_key_could_carry_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        Policy(name, limits.parse("1/second"))


@pytest.mark.parametrize("quota", [0, 10**15])
def test_a_quota_that_no_header_could_carry_is_refused(quota: int) -> None:
    with pytest.raises(ValueError, match=f"not {quota}"):
        Policy("default", limits.parse(f"{quota}/minute"))


def test_the_headers_of_an_allowed_request() -> None:
    verdict = Verdict(True, TEN_A_MINUTE, 9, 60, "shared")
    assert verdict.retry_after is None
    assert verdict.headers() == [
        (b"ratelimit-policy", b'"default";q=10;w=60'),
        (b"ratelimit", b'"default";r=9;t=60'),
    ]


def test_the_headers_of_a_refused_request_say_when_to_come_back() -> None:
    verdict = Verdict(False, TEN_A_MINUTE, 0, 42, "shared")
    assert verdict.retry_after == 42
    assert verdict.headers() == [
        (b"ratelimit-policy", b'"default";q=10;w=60'),
        (b"ratelimit", b'"default";r=0;t=42'),
        (b"retry-after", b"42"),
    ]


@pytest.mark.parametrize("quota", [1, 3, 4, 10, 600])
@pytest.mark.parametrize("workers", [1, 3, 4, 7])
async def test_workers_without_a_store_never_exceed_the_quota_together(quota: int, workers: int) -> None:
    policy = Policy("default", limits.parse(f"{quota}/hour"))
    pod = [worker(workers) for _ in range(workers)]
    allowed = [sum([(await each.hit(policy, "caller")).allowed for _ in range(quota + 1)]) for each in pod]
    assert min(allowed) >= 1
    assert sum(allowed) <= max(quota, workers)
    assert sum(allowed) > quota - workers


async def test_the_headers_tell_the_share_that_a_worker_enforces(clock: Clock) -> None:
    alone = worker(workers=4)
    verdict = await alone.hit(Policy("default", limits.parse("10/minute")), "caller")
    assert verdict.source == "local"
    assert verdict.headers() == [
        (b"ratelimit-policy", b'"default";q=2;w=60'),
        (b"ratelimit", b'"default";r=1;t=60'),
    ]


async def test_a_window_starts_with_the_first_hit_and_ends_after_its_length(clock: Clock) -> None:
    verdicts: list[Verdict] = []
    alone = worker(verdicts=verdicts)
    for _ in range(11):
        clock.now += 0.5
        await alone.hit(TEN_A_MINUTE, "caller")
    assert [verdict.allowed for verdict in verdicts] == [True] * 10 + [False]
    assert [verdict.remaining for verdict in verdicts] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert [verdict.reset for verdict in verdicts] == [60, 60, 59, 59, 58, 58, 57, 57, 56, 56, 55]
    clock.now += 54.9
    assert not (await alone.hit(TEN_A_MINUTE, "caller")).allowed
    clock.now += 0.1
    assert (await alone.hit(TEN_A_MINUTE, "caller")).remaining == 9


async def test_callers_and_policies_are_counted_apart() -> None:
    alone = worker()
    other = Policy("other", TEN_A_MINUTE.item)
    for policy, caller in [(TEN_A_MINUTE, "a"), (TEN_A_MINUTE, "b"), (other, "a")]:
        assert (await alone.hit(policy, caller)).remaining == 9
    assert (await alone.hit(TEN_A_MINUTE, "a")).remaining == 8


async def test_any_string_is_a_caller_and_its_key_is_short() -> None:
    callers = ["", "x" * 64, "x" * 65, "x" * 1_000_000, "#", "caf\u00e9", "\ud800", "a b\r\n"]
    keys = [limiter._bounded(caller) for caller in callers]
    callers += [key for key in keys if key.startswith("#")]  # who calls himself like somebody's hash is not him
    alone = worker()
    assert [(await alone.hit(TEN_A_MINUTE, caller)).remaining for caller in callers] == [9] * len(callers)
    assert max(map(len, keys)) <= 64
    assert all(key.isascii() for key in keys)


async def test_each_hit_is_reported_once() -> None:
    verdicts: list[Verdict] = []
    alone = worker(verdicts=verdicts)
    returned = [await alone.hit(TEN_A_MINUTE, "caller") for _ in range(12)]
    assert returned == verdicts
    await alone.aclose()


async def test_a_flood_of_callers_fills_no_memory_and_starts_nothing() -> None:
    tasks, threads = len(asyncio.all_tasks()), threading.active_count()
    alone = worker()
    storage = alone._own.storage
    assert isinstance(storage, BoundedMemoryStorage)
    for caller in range(3 * memory.MAX_WINDOWS):
        await alone.hit(TEN_A_MINUTE, f"address:{caller}")
        if caller % 1000 == 0:
            await asyncio.sleep(0)
    assert len(storage.storage) == len(storage.expirations) == len(storage._ends) == memory.MAX_WINDOWS
    assert len(storage.locks) == 0
    assert len(asyncio.all_tasks()) == tasks
    assert threading.active_count() == threads


async def test_a_hit_costs_the_same_whoever_else_calls() -> None:
    """The library's own storage takes a hundred times as long here."""

    async def seconds(alone: RateLimiter) -> float:
        start = time.process_time()
        for _ in range(200):
            await alone.hit(TEN_A_MINUTE, "caller")
            await asyncio.sleep(0)
        return time.process_time() - start

    quiet, busy = worker(), worker()
    for caller in range(memory.MAX_WINDOWS - 1):
        await busy.hit(TEN_A_MINUTE, str(caller))
    assert min([await seconds(busy) for _ in range(3)]) < 10 * min([await seconds(quiet) for _ in range(3)])


async def test_a_full_storage_forgets_what_ends_first(clock: Clock) -> None:
    storage = BoundedMemoryStorage(max_windows=3)
    await storage.incr("day", 86_400)
    await storage.incr("minute", 60)
    await storage.incr("hour", 3_600)
    await storage.incr("another hour", 3_600)
    assert [await storage.get(key) for key in ("day", "minute", "hour", "another hour")] == [1, 0, 1, 1]


async def test_ended_windows_go_before_the_storage_is_full(clock: Clock) -> None:
    storage = BoundedMemoryStorage()
    for key in range(100):
        await storage.incr(f"old {key}", 60)
    clock.now += 61
    for key in range(50):
        await storage.incr(f"new {key}", 60)
    assert len(storage.storage) == len(storage._ends) == 50


@pytest.mark.parametrize("forget", ["get", "clear"])
async def test_a_window_that_started_anew_outlives_its_former_end(clock: Clock, forget: str) -> None:
    storage = BoundedMemoryStorage()
    for key in ("old", "older", "key"):
        await storage.incr(key, 60)
        clock.now += 1
    clock.now += 60
    await getattr(storage, forget)("key")  # the library forgets it by itself
    await storage.incr("key", 60)
    await storage.incr("other", 60)
    assert await storage.incr("key", 60) == 2
    assert len(storage.storage) == len(storage._ends) == 2


async def test_a_clock_that_is_set_back_locks_nobody_out(clock: Clock) -> None:
    alone = worker()
    for _ in range(11):
        verdict = await alone.hit(TEN_A_MINUTE, "caller")
    assert not verdict.allowed
    clock.now -= 3_600
    verdict = await alone.hit(TEN_A_MINUTE, "caller")
    assert (verdict.allowed, verdict.remaining, verdict.reset) == (True, 9, 60)


def test_a_limiter_is_made_without_a_loop_and_connects_to_nothing() -> None:
    settings = LimitSettings(url=SecretStr("redis://127.0.0.1:1/0"))
    before = threading.active_count()
    made = RateLimiter(settings, 1, lambda _: None)
    assert threading.active_count() == before
    asyncio.run(made.aclose())


@pytest.mark.parametrize("url", ["postgresql://:hidden@host/0", "redis://:hidden/@host:6379/0", "redis://host:hidden"])
def test_a_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="GANTRY_LIMITS__URL") as caught:
        SharedCounters(url, timeout=1, retry_after_failure=1)
    assert "hidden" not in "".join(traceback.format_exception(caught.value))
