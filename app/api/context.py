"""What an endpoint may reach: the process's long-lived parts, and the request's caller and conditions."""

from dataclasses import dataclass
from typing import TypedDict, cast

from starlette.requests import Request

from app.core.config import Settings
from app.core.database import Database
from app.core.limits import Policy, RateLimiter
from app.core.security import KeyRing
from app.core.status import ProcessStatus
from app.core.telemetry.metrics import Metrics
from app.services.callers import Caller, Callers
from app.services.export import Exports
from app.services.versions import Versions
from app.utils.cursors import CursorSigner
from app.utils.etags import matches_strong, matches_weak, parse_etag_list, versions_strong


@dataclass(frozen=True, slots=True)
class Process:
    """What one worker process holds from its start to its end; made in the lifespan, after the fork."""

    settings: Settings
    database: Database
    ring: KeyRing
    callers: Callers
    limiter: RateLimiter
    policies: dict[str, Policy]
    exports: Exports
    cursors: CursorSigner
    metrics: Metrics
    status: ProcessStatus


class LifespanState(TypedDict):
    """What the lifespan hands to each request."""

    process: Process


class Context(Request):
    """One request, as an endpoint sees it: a parameter of this type costs nothing, where each dependency costs time on every request."""

    @property
    def process(self) -> Process:
        """What the process holds."""
        return cast(Process, self.scope["state"]["process"])

    @property
    def database(self) -> Database:
        """The process's database."""
        return self.process.database

    @property
    def caller(self) -> Caller:
        """The owner of the key; only where the route's access asks for a key."""
        return cast(Caller, self.scope["state"]["caller"])

    def header(self, name: str) -> str | None:
        """A header's value, its lines joined as RFC 9110 §5.3 says."""
        lines = self.headers.getlist(name)
        return ", ".join(lines) if lines else None

    def not_modified(self, etag: str) -> bool:
        """Whether ``If-None-Match`` says that the client has this version (RFC 9110 §13.1.2)."""
        header = self.header("if-none-match")
        return header is not None and matches_weak(parse_etag_list(header), etag)

    def mismatched(self, etag: str) -> bool:
        """Whether ``If-Match`` names other versions alone (RFC 9110 §13.1.1)."""
        header = self.header("if-match")
        return header is not None and not matches_strong(parse_etag_list(header), etag)

    def versions(self) -> Versions:
        """The versions that ``If-Match`` accepts (RFC 9110 §13.1.1); none: any. A malformed header accepts no version."""
        if_none_match = self.header("if-none-match")
        if if_none_match is not None and parse_etag_list(if_none_match).star:
            return ()  # "only if it does not exist": what exists is not changed
        header = self.header("if-match")
        return None if header is None else versions_strong(parse_etag_list(header))
