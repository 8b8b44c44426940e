"""Who may call a route, and how often: declared at the endpoint, in one line, and enforced by ``app.api.routing``.

An endpoint without such a line can't be mounted: a route that somebody forgot to protect stops the start.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from app.core.scopes import Scope

type LimitName = Literal["default", "example"]
"""A rate of ``Settings.limits``."""


class Audience(Enum):
    """Callers that are not told apart by scope."""

    PUBLIC = "public"
    """Anybody, without a key."""
    ANY_KEY = "any key"
    """Any valid key, whatever its scopes."""


PUBLIC = Audience.PUBLIC
ANY_KEY = Audience.ANY_KEY


@dataclass(frozen=True, slots=True)
class Access:
    """What an endpoint declares. ``limit`` none: exempt from rate limits."""

    audience: Scope | Audience
    limit: LimitName | None
    produces: tuple[str, ...]
    """Media types of the answer, for ``Accept``; none when there is nothing to choose."""


def access[F: Callable[..., Any]](
    audience: Scope | Audience,
    *,
    limit: LimitName | None = "default",
    produces: tuple[str, ...] = ("application/json",),
) -> Callable[[F], F]:
    """Declare an endpoint's audience, a scope or ``PUBLIC`` or ``ANY_KEY``, the rate it is limited to, and what it produces."""

    def declare(endpoint: F) -> F:
        endpoint.__access__ = Access(audience, limit, produces)  # type: ignore[attr-defined]  # functions take attributes
        return endpoint

    return declare


def declared_access(endpoint: Callable[..., Any]) -> Access:
    """What the endpoint declared. Raises ``TypeError`` when it declared nothing."""
    declared: Access | None = getattr(endpoint, "__access__", None)
    if declared is None:
        raise TypeError(
            f"{endpoint.__module__}.{endpoint.__qualname__} declares no access: put @access(...) under its route"
        )
    return declared
