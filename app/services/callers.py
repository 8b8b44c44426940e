"""Who is calling: keys are looked up in the database once, and believed for a stated time.

A made-up key never gets here: ``KeyRing.read`` refuses it by its keyed tag, without a query. What is known of a real one is kept for
``security.key_cache_seconds``; so a revocation holds at once in the process that made it (``changing``), and elsewhere within that time.
"""

import asyncio
import hmac
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ARRAY, BigInteger, Row, any_, func, literal, or_, select, update

from app.core.config import SecuritySettings
from app.core.database import Database
from app.core.pool import Waiters, waiters
from app.core.security import KeyRing, PresentedKey
from app.models import ApiKey
from app.services.api_keys import select_secrets


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of a valid key."""

    key_id: int
    name: str
    scopes: frozenset[str]


NEVER: Final = float("-inf")
"""The end of a secret that is none."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the process knows of a key since it asked (monotonic seconds): who it is, and its secrets with their ends (Unix time)."""

    caller: Caller | None
    secrets: tuple[tuple[bytes, float], ...] = field(repr=False)
    asked: float

    def end_of(self, digest: bytes) -> float | None:
        """When this secret ends, or none when it is unknown. All are compared, in constant time: how long it takes says nothing."""
        found = None
        for known, end in self.secrets:
            if hmac.compare_digest(known, digest):
                found = end
        return found


class Callers:
    """The callers that one worker process knows."""

    def __init__(self, database: Database, ring: KeyRing, settings: SecuritySettings) -> None:
        self._database = database
        self._ring = ring
        self._settings = settings
        self._known: OrderedDict[int, Known] = OrderedDict()
        self._asking: dict[int, tuple[asyncio.Task[Known], Waiters]] = {}
        self._seen: set[int] = set()
        self._written: dict[int, float] = {}

    async def identify(self, presented: str) -> Caller | None:
        """The caller whose key this is, or none when it is no valid key. Raises what the database raises."""
        key = self._ring.read(presented)
        if key is None:
            return None
        arrived = time.monotonic()
        known = self._known.get(key.key_id)
        if known is None or arrived - known.asked >= self._settings.key_cache_seconds:
            known = await self._ask(key.key_id)
        end = known.end_of(key.digest)
        if end is None and known.asked < arrived:
            # Another process may have rotated the key since: its new secret is valid everywhere at once.
            known = await self._ask(key.key_id)
            end = known.end_of(key.digest)
        if end is None:
            self._note_stranger(key, known)
            return None
        if time.time() >= end:
            return None
        self._seen.add(key.key_id)
        return known.caller

    @contextmanager
    def changing(self, key_id: int) -> Iterator[None]:
        """Around a change of this key by this process: when the key comes next, the database is asked again.

        However the change ends: one that was cut off while it committed may have been made.
        """
        try:
            yield
        finally:
            self._known.pop(key_id, None)
            self._asking.pop(key_id, None)

    def _note_stranger(self, key: PresentedKey, known: Known) -> None:
        """The next time this secret comes, it costs no query either."""
        if self._known.get(key.key_id) is known:
            self._known[key.key_id] = replace(known, secrets=(*known.secrets, (key.digest, NEVER)))

    async def _ask(self, key_id: int) -> Known:
        """One query for all requests that wait for the same key; it goes on if one of them is cancelled."""
        asking = self._asking.get(key_id)
        if asking is None:
            those = Waiters(0)
            task = asyncio.create_task(self._look_up(key_id, those))
            asking = self._asking[key_id] = task, those
            task.add_done_callback(lambda done: self._answered(key_id, done))
        task, those = asking
        those.requests += 1
        try:
            return await asyncio.shield(task)
        finally:
            those.requests -= 1

    def _answered(self, key_id: int, task: asyncio.Task[Known]) -> None:
        failed = task.cancelled() or task.exception() is not None
        asking = self._asking.get(key_id)
        if asking is None or asking[0] is not task:
            return  # forgotten meanwhile: what it read may be older than the change
        del self._asking[key_id]
        if failed:
            return
        self._known[key_id] = task.result()
        self._known.move_to_end(key_id)
        if len(self._known) > self._settings.key_cache_size:
            self._known.popitem(last=False)

    async def _look_up(self, key_id: int, those: Waiters) -> Known:
        waiters.set(those)  # in this task alone
        asked = time.monotonic()
        async with self._database.read() as session:
            rows = (await session.execute(select_secrets(key_id))).all()
        if not rows:
            return Known(None, (), asked)
        first = rows[0]
        caller = Caller(first.id, first.name, frozenset(first.scopes))
        return Known(caller, tuple((row.digest, _end(row)) for row in rows), asked)

    async def write_last_used(self) -> None:
        """Write ``last_used_at`` of the keys seen since the last call, in one statement, each at most once in ``last_used_seconds``.

        The row takes a new version, since what it shows has changed. When the database fails, the next call writes them.
        """
        now = time.monotonic()
        coarse = self._settings.last_used_seconds
        seen = set(self._seen)
        due = [key_id for key_id in seen if now - self._written.get(key_id, -coarse) >= coarse]
        if due:
            stale = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < func.now() - timedelta(seconds=coarse))
            # Nobody is waited for: who holds a row is mostly another process that writes the same, and if not, the next use is written.
            held = (
                select(ApiKey.id)
                .where(ApiKey.id == any_(literal(due, ARRAY(BigInteger))), stale)
                .with_for_update(skip_locked=True)
            )
            async with self._database.transaction() as session:
                await session.execute(
                    update(ApiKey)
                    .where(ApiKey.id.in_(held))
                    .values(last_used_at=func.now(), version=ApiKey.version + 1)
                )
        self._seen -= seen
        self._written = {key_id: at for key_id, at in self._written.items() if now - at < coarse} | dict.fromkeys(
            due, now
        )

    async def aclose(self) -> None:
        """Give up the lookups that are under way: whoever asked is gone, and each holds a connection."""
        lookups = [task for task, _ in self._asking.values()]
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)


def _end(row: Row[Any]) -> float:
    ends: list[datetime] = [end for end in (row.expires_at, row.ends) if end is not None]
    return min(ends).astimezone(UTC).timestamp() if ends else float("inf")
