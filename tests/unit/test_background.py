"""Ticks: when they come, and how late they say that they are."""

import asyncio
import time

from app.core.background import running, ticking


async def test_ticks_come_and_say_how_late_they_are() -> None:
    ticks: list[float] = []
    async with running(ticking(0.02, ticks.append)):
        await asyncio.sleep(0.5)
        assert 5 < len(ticks) <= 26
        assert min(ticks) >= 0
        assert sorted(ticks)[len(ticks) // 2] < 0.05
        time.sleep(0.3)  # noqa: ASYNC251 - a blocked event loop is what is wanted
        before = len(ticks)
        await asyncio.sleep(0.01)
        assert len(ticks) == before + 1
        assert 0.25 < ticks[-1] < 0.6
        await asyncio.sleep(0.1)
        assert ticks[-1] < 0.25, "the time that is lost is not counted again"
    count = len(ticks)
    await asyncio.sleep(0.05)
    assert len(ticks) == count
