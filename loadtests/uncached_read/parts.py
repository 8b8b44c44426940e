"""Parts of our own beside what they stand in for: the read of a row, and the limiter's script.

Both run in this process against the real servers; what is counted is its CPU time. The measurement is what justifies
having them, so it belongs to them: see docs/performance.md.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import LiteralString

from limits import parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter
from pydantic import SecretStr
from sqlalchemy import select

from app.core.config import DatabaseSettings, LimitSettings
from app.core.database import Database
from app.core.limits import Policy, RateLimiter
from app.models import Item
from app.services.point_reads import read_item
from loadtests.paired.backing import UNLIMITED, Backing
from loadtests.paired.ratios import Ratio, bootstrap
from loadtests.paired.report import text_table
from loadtests.paired.workloads import ITEMS

CALLS = 1000
"""Calls in a block."""

WAYS_AT_ONCE = (1, 16)
"""How many callers call at the same time, each again and again."""

ONE_ROW: LiteralString = (
    "SELECT id, name, description, owner_id, version, created_at, updated_at FROM items WHERE id = %s"
)

type Part = Callable[[int], Awaitable[object]]
"""Does its work for an item or a caller."""


@dataclass(frozen=True)
class Compared:
    """What is ours, what it stands in for, and what each costs."""

    ours: str
    theirs: str
    at_once: int
    ours_us: float
    theirs_us: float
    ratio: Ratio


def read_parts(database: Database) -> tuple[Part, Part, Part]:
    """A row as endpoints read it, by the driver without company, and by SQLAlchemy's session."""

    async def gathered(number: int) -> None:
        row = await read_item(database, number)
        assert row.id == number

    async def by_driver(number: int) -> None:
        (row,) = await database.fetch_rows(ONE_ROW, (number,))
        assert row[0] == number

    async def by_session(number: int) -> None:
        async with database.read() as session:
            row = (await session.execute(select(*Item.__table__.columns).where(Item.id == number))).one()
        assert row.id == number

    return gathered, by_driver, by_session


@asynccontextmanager
async def limit_parts(url: str) -> AsyncIterator[tuple[Part, Part]]:
    """A hit with what the headers need, by our script, and by ``limits.aio`` over the same client library."""
    limit = parse(UNLIMITED)
    policy = Policy("default", limit)
    ours = RateLimiter(LimitSettings(url=SecretStr(url), timeout=5), workers=1, on_verdict=lambda _: None)
    theirs = FixedWindowRateLimiter(RedisStorage(f"async+{url}", implementation="redispy"))

    async def by_script(number: int) -> None:
        verdict = await ours.hit(policy, f"key:{number}")
        assert verdict.allowed
        assert verdict.source == "shared"

    async def by_limits(number: int) -> None:
        key = f"default:key:{number}"
        assert await theirs.hit(limit, key)
        await theirs.get_window_stats(limit, key)

    try:
        yield by_script, by_limits
    finally:
        await ours.aclose()


async def cost(part: Part, numbers: Iterator[int], at_once: int) -> float:
    """CPU microseconds a call."""

    async def caller() -> None:
        for _ in range(CALLS // at_once):
            await part(next(numbers))

    before = time.process_time()
    await asyncio.gather(*(caller() for _ in range(at_once)))
    return (time.process_time() - before) / (CALLS // at_once * at_once) * 1e6


async def compare_parts(names: tuple[str, str], parts: tuple[Part, Part], rounds: int, seed: int) -> list[Compared]:
    """Rounds of A B B A, or B A A B, for each number of callers."""
    chance = random.Random(seed)
    numbers = iter(lambda: chance.randint(1, ITEMS), None)
    results = []
    for at_once in WAYS_AT_ONCE:
        for part in parts:
            await cost(part, numbers, at_once)  # warm-up
        measured: list[list[float]] = []
        for _ in range(rounds):
            order = chance.sample((0, 1), 2)
            total = [0.0, 0.0]
            for which in order + order[::-1]:
                total[which] += await cost(parts[which], numbers, at_once) / 2
            measured.append(total)
        ratio = bootstrap([ours / theirs for ours, theirs in measured], seed)
        ours_us, theirs_us = (median(column) for column in zip(*measured, strict=True))
        results.append(Compared(*names, at_once, ours_us, theirs_us, ratio))
    return results


async def measure_parts(backing: Backing, rounds: int, seed: int) -> list[Compared]:
    """All that this module measures."""
    database = Database(DatabaseSettings(url=SecretStr(backing.database_url)))
    await database.settle_prepared_statements()
    try:
        gathered, by_driver, by_session = read_parts(database)
        names = ("a row by the driver", "by the session")
        results = await compare_parts(names, (by_driver, by_session), rounds, seed)
        names = ("a row gathered with others", "by the session")
        results += await compare_parts(names, (gathered, by_session), rounds, seed)
    finally:
        await database.aclose()
    async with limit_parts(backing.valkey_url) as parts:
        names = ("a limit's hit by the script", "by limits.aio")
        return results + await compare_parts(names, parts, rounds, seed)


def parts_table(results: list[Compared]) -> str:
    """The results, a line each."""
    rows = [
        [
            f"{r.ours} / {r.theirs}",
            str(r.at_once),
            f"{r.ours_us:.0f} / {r.theirs_us:.0f}",
            f"{r.ratio.median:.3f}",
            f"{r.ratio.low:.3f} to {r.ratio.high:.3f}",
        ]
        for r in results
    ]
    return text_table(["CPU µs a call of the client", "at once", "medians", "ratio", "95 % interval"], rows)
