"""What a limit is, what was decided about one request, and how both are said in headers.

The headers are those of draft-ietf-httpapi-ratelimit-headers-11 (structured fields, RFC 9651), and ``Retry-After``
(RFC 9110 §10.2.3).
"""

import re
from dataclasses import dataclass, field
from typing import Final, Literal

from limits import RateLimitItem

MAX_INTEGER: Final = 999_999_999_999_999
"""Largest integer of a structured field (RFC 9651 §3.3.1)."""

_NAME: Final = re.compile(r"[\x20-\x39\x3b-\x7e]{1,64}")
"""Characters of an sf-string (RFC 9651 §3.3.3) but the colon, which separates the parts of a store's key."""

type Source = Literal["shared", "local", "failed_open"]
"""Who counted: the shared store, this worker because there is no store, or this worker because the store is lost."""


def quoted(text: str) -> str:
    r"""Printable ASCII as an sf-string: in quotes, with ``"`` and ``\`` escaped (RFC 9651 §4.1.6)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True, slots=True)
class Policy:
    """A named limit, such as ``Policy("default", limits.parse("600/minute"))``.

    Made once and kept, not once a request: a limiter remembers the policies that it met. Raises ``ValueError`` when the
    name is not 1 to 64 printable ASCII characters without a colon, or the quota is 0 or too large for a header.
    """

    name: str
    """What clients see, and part of the key that is counted: two policies of one name and window share their counts."""
    item: RateLimitItem
    quota: int = field(init=False, compare=False)
    """Requests in a window."""
    window: int = field(init=False, compare=False)
    """Length of a window in seconds."""
    header: bytes = field(init=False, compare=False)
    """Value of ``RateLimit-Policy``."""

    def __post_init__(self) -> None:
        quota, window = self.item.amount, self.item.get_expiry()
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r}: a policy's name has 1 to 64 printable ASCII characters and no colon")
        if not 1 <= quota <= MAX_INTEGER:
            raise ValueError(f"{self.name}: a policy's quota is 1 to {MAX_INTEGER}, not {quota}")
        object.__setattr__(self, "quota", quota)
        object.__setattr__(self, "window", window)
        object.__setattr__(self, "header", f"{quoted(self.name)};q={quota};w={window}".encode())

    def share(self, workers: int) -> "Policy":
        """What each of ``workers`` processes may allow so that together they stay within the quota; at least 1."""
        quota = max(1, self.quota // workers)
        return Policy(self.name, type(self.item)(quota, self.item.multiples, self.item.namespace))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided about one request, and where its caller stands."""

    allowed: bool
    policy: Policy
    """The policy that was enforced: the worker's share of it when the worker counted by itself."""
    remaining: int
    """Requests that the caller has left in the window."""
    reset: int
    """Seconds until the window ends, rounded up, at least 1."""
    source: Source

    @property
    def header(self) -> bytes:
        """Value of ``RateLimit``."""
        return f"{quoted(self.policy.name)};r={self.remaining};t={self.reset}".encode()

    @property
    def retry_after(self) -> int | None:
        """Seconds for ``Retry-After``: only when the request is refused."""
        return None if self.allowed else self.reset

    def headers(self) -> list[tuple[bytes, bytes]]:
        """All that a response says about the limit, as ASGI headers."""
        headers = [(b"ratelimit-policy", self.policy.header), (b"ratelimit", self.header)]
        if not self.allowed:
            headers.append((b"retry-after", str(self.reset).encode()))
        return headers
