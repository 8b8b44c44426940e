"""The rate limiter of one worker: the shared count where there is one, else the worker's own."""

import time
from collections.abc import Callable
from hashlib import blake2b
from math import ceil
from typing import Final

from limits.aio.strategies import FixedWindowRateLimiter
from opentelemetry.trace import StatusCode, Tracer

from app.core.config import LimitSettings
from app.core.limits.memory import BoundedMemoryStorage
from app.core.limits.policy import Policy, Source, Verdict
from app.core.limits.shared import SharedCounters
from app.core.telemetry.client_spans import UNTRACED, ClientSpan

KEY_PREFIX: Final = "gantry:limit"
ASKED: Final = {"db.system.name": "redis", "db.operation.name": "EVALSHA"}
"""What a span says of it (OpenTelemetry's conventions for databases; Valkey speaks Redis' protocol)."""

MAX_CALLER: Final = 64
"""Characters of a caller that stand in a key as they are; a longer one is hashed."""


def _bounded(caller: str) -> str:
    """The caller as part of a key: short, ASCII, and distinct for distinct callers (only a hash begins with ``#``)."""
    if len(caller) <= MAX_CALLER and caller.isascii() and not caller.startswith("#"):
        return caller
    return "#" + blake2b(caller.encode(errors="surrogatepass"), digest_size=16).hexdigest()


class RateLimiter:
    """Counts hits in fixed windows; a window starts with a caller's first hit.

    With ``settings.url`` the quota holds for all workers and pods together, exactly. When that store is lost, no
    request fails for it: each worker enforces its share, the quota divided by ``workers`` and rounded down, but at
    least 1. Without a URL it always does. So the workers of a pod never allow more than the quota together, unless
    the quota is smaller than their number; each pod then does so by itself. Connections are not spread evenly over
    workers: a caller on one connection meets one worker, and has that worker's share.

    The headers say what was enforced: where the worker counted by itself, ``q`` is its share, and ``r`` what is left
    of it.

    Made by each worker: nothing of it may be shared across a fork. It needs no running loop before the first hit.
    """

    def __init__(
        self,
        settings: LimitSettings,
        workers: int,
        on_verdict: Callable[[Verdict], None],
        tracer: Tracer = UNTRACED,
    ) -> None:
        """``workers``: processes of this pod. ``on_verdict`` is called once for each hit, to be counted in a metric. ``tracer``
        makes spans of asking the shared store.

        Raises ``ValueError`` when ``settings.url`` is no URL of a Redis.
        """
        self._workers = workers
        self._on_verdict = on_verdict
        self._tracer = tracer
        self._own = FixedWindowRateLimiter(BoundedMemoryStorage())
        self._shares: dict[Policy, Policy] = {}
        self._shared: SharedCounters | None = None
        if settings.url:
            self._shared = SharedCounters(
                settings.url.get_secret_value(),
                password=settings.password.get_secret_value() if settings.password else None,
                timeout=settings.timeout,
                retry_after_failure=settings.retry_after_failure,
            )

    async def hit(self, policy: Policy, caller: str) -> Verdict:
        """Count one request of ``caller`` (any string) and decide whether it may pass. No lost store makes it fail."""
        caller = _bounded(caller)
        if not self._shared:
            verdict = await self._count_here(policy, caller, "local")
        elif counted := await self._count_there(self._shared, policy, caller):
            count, left = counted
            remaining = max(0, policy.quota - count)
            verdict = Verdict(count <= policy.quota, policy, remaining, max(1, ceil(left / 1000)), "shared")
        else:
            verdict = await self._count_here(policy, caller, "failed_open")
        self._on_verdict(verdict)
        return verdict

    async def _count_there(self, store: SharedCounters, policy: Policy, caller: str) -> tuple[int, int] | None:
        with ClientSpan(self._tracer, "EVALSHA", ASKED) as span:
            counted = await store.hit(f"{KEY_PREFIX}:{policy.name}:{policy.window}:{caller}", policy.window * 1000)
            if counted is None and span is not None:
                span.set_status(StatusCode.ERROR)
            return counted

    async def _count_here(self, policy: Policy, caller: str, source: Source) -> Verdict:
        share = self._shares.get(policy)
        if share is None:
            share = self._shares[policy] = policy.share(self._workers)
        key = f"{policy.name}:{caller}"
        allowed = await self._own.hit(share.item, key)
        end, remaining = await self._own.get_window_stats(share.item, key)
        return Verdict(allowed, share, remaining, max(1, ceil(end - time.time())), source)

    async def aclose(self) -> None:
        """Close the connection to the shared store."""
        if self._shared:
            await self._shared.aclose()
