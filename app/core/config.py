"""Settings: everything an operator can set, read from the environment, from files of secrets, or given by a test.

Every field is ``GANTRY_<GROUP>__<FIELD>`` in the environment (``GANTRY_DATABASE__URL``), a list is JSON
(``GANTRY_HTTP__CORS_ORIGINS='["https://app.example"]'``). A file of the same name in ``GANTRY_SECRETS_DIR``
(``gantry_database__url``, any case) is read too, so that a Kubernetes Secret can be mounted instead of put in the environment.
The environment wins over a file. Nothing reads settings at import: ``app.core.loading.load_settings()`` is called once, by the CLI.
"""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from limits import parse_many
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from redis.asyncio.connection import parse_url
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from app.core.security import KeyRing

DEVELOPMENT_SECRET_PREFIX = "development-only-"  # noqa: S105 - it marks what is no secret
"""A secret that begins so is public knowledge: a production start with one is refused."""

ORIGIN = re.compile(r"https?://[^/\s?#]+")
"""Scheme and host, as browsers write an origin (RFC 6454)."""

MIN_SECRET_LENGTH = 32
"""Characters; NIST SP 800-107r1 §5.3.4 asks an HMAC key to be no weaker than the hash's security strength."""


ENVIRONMENT_PREFIX = "GANTRY_"


def variable_name(location: tuple[int | str, ...]) -> str:
    """The environment variable of a setting, from pydantic's location: ``("database", "url")`` → ``GANTRY_DATABASE__URL``."""
    names = [str(part) for part in location if not isinstance(part, int)]
    return ENVIRONMENT_PREFIX + "__".join(names).upper()


class Environment(StrEnum):
    """Where the process runs. Only ``production`` (the default) refuses development secrets."""

    production = "production"
    development = "development"
    test = "test"


def _rate(value: str) -> str:
    try:
        (rate,) = parse_many(value)
    except ValueError:
        raise ValueError("must read like '10/minute' or '600/60 second'") from None
    if rate.amount < 1:
        raise ValueError("must allow at least 1")
    return value


def _begins(*schemes: str) -> AfterValidator:
    def check(value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(schemes):
            raise ValueError(
                f"must begin with {', '.join(schemes[:-1])}{' or ' if len(schemes) > 1 else ''}{schemes[-1]}"
            )
        return value

    return AfterValidator(check)


def _postgres(value: SecretStr) -> SecretStr:
    try:
        make_url(value.get_secret_value())
    except (ArgumentError, ValueError):
        raise ValueError("is no URL of a PostgreSQL, such as postgresql://user:password@host:5432/name") from None
    return value


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    if not all(value == "*" or ORIGIN.fullmatch(value) for value in values):
        raise ValueError("an origin reads like https://app.example, without a path or a slash at its end")
    return values


def _public_url(value: str | None) -> str | None:
    if value is not None and not ORIGIN.fullmatch(value):
        raise ValueError("must read like https://api.example, without a path or a slash at its end")
    return value


def _collector(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"https?://[^\s?#@]+", value):
        raise ValueError("must read like http://collector:4318, without the signal's path or credentials")
    return value


def _redis(value: SecretStr) -> SecretStr:
    try:
        parse_url(value.get_secret_value())
    except ValueError:
        # Not in its words: they repeat a part of the password when that holds an unescaped slash.
        raise ValueError(
            "is no URL of a Redis; a password's special characters are written as %2F and the like"
        ) from None
    return value


def _strong(values: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if any(len(value.get_secret_value()) < MIN_SECRET_LENGTH for value in values):
        raise ValueError(f"each secret needs at least {MIN_SECRET_LENGTH} characters")
    return values


PostgresUrl = Annotated[SecretStr, _begins("postgresql://"), AfterValidator(_postgres)]
RedisUrl = Annotated[SecretStr, _begins("redis://", "rediss://", "unix://"), AfterValidator(_redis)]
Secrets = Annotated[tuple[SecretStr, ...], Field(min_length=1), AfterValidator(_strong)]
"""Secrets of which the first is used, and all are accepted: how a secret is replaced without an interruption."""

Rate = Annotated[str, AfterValidator(_rate)]
"""A rate in the notation of the ``limits`` library: ``<count>/[<n>] <second|minute|hour|day>``."""


class Group(BaseModel):
    """A group of settings: immutable, and a name that does not exist is an error rather than ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DatabaseSettings(Group):
    """PostgreSQL. All durations in seconds."""

    url: PostgresUrl
    """Through pgbouncer in transaction pooling (or direct): ``postgresql://user:password@host:port/name``. Required."""
    direct_url: PostgresUrl | None = None
    """Past pgbouncer, for migrations, LISTEN and workers: session state and advisory locks need it. Default: ``url``."""
    pool_size: PositiveInt = 10
    """Connections each worker process may hold."""
    pool_timeout: PositiveFloat = 3.0
    """How long a request waits for a connection of the pool before it is answered 503."""
    connect_timeout: PositiveInt = 3
    """How long one attempt to connect may take (libpq rounds 1 up to 2)."""
    pool_recycle: PositiveInt = 300
    """Age at which a connection is replaced: lets clients of a rolling pgbouncer move on."""
    prepared_statements: Literal["auto", "on", "off"] = "auto"
    """``auto``: on when libpq can close prepared statements by protocol (>= 17), which pgbouncer >= 1.22 needs."""
    migration_lock_timeout: PositiveFloat = 5.0
    """How long a migration's statement waits for a table lock before it gives up (and lets the queue behind it go)."""
    migration_statement_timeout: PositiveFloat = 900.0
    """How long one statement of a migration may run."""

    @property
    def direct(self) -> SecretStr:
        """``direct_url``, or ``url`` when there is no pooler between."""
        return self.direct_url or self.url


class LimitSettings(Group):
    """Rate limits."""

    url: RedisUrl | None = None
    """The Redis or Valkey that all pods share. Unset: each worker process enforces its share (limit / workers)."""
    password: SecretStr | None = None
    """Its password, apart from the URL: here no character is written in another way."""
    default: Rate = "600/minute"
    """For every route that does not declare its own, per API key, else per client address."""
    example: Rate = "10/minute"
    """For ``GET /limited``, the smallest example of a route's own limit."""
    timeout: PositiveFloat = 0.05
    """Seconds the shared store may take to answer before the worker counts locally."""
    retry_after_failure: PositiveFloat = 1.0
    """Seconds a lost store is left alone before it is tried again."""


class SecuritySettings(Group):
    """API keys and what is signed."""

    key_peppers: Secrets
    """Secrets that API keys are hashed with; the first hashes new keys, all verify. Required, each >= 32 characters."""
    cursor_keys: Secrets
    """Secrets that page cursors are signed with; the first signs, all verify. Required, each >= 32 characters."""
    bootstrap_key: SecretStr | None = None
    """A key made by ``gantry keys create --offline``: registered with every scope at start, unless it was revoked."""
    key_cache_seconds: Annotated[float, Field(ge=0, le=300)] = 5.0
    """How long a worker trusts what it knows of a key: the bound within which a revocation elsewhere takes effect."""
    key_cache_size: PositiveInt = 10_000
    """Keys each worker remembers."""
    last_used_seconds: PositiveFloat = 300.0
    """Coarseness of ``last_used_at``: a key's row is written at most once in this time."""
    last_used_flush_seconds: PositiveFloat = 30.0
    """How often the keys seen are written, in one statement."""
    rotation_overlap_seconds: Annotated[int, Field(ge=0, le=30 * 86400)] = 86_400
    """How long the former secret of a rotated key stays valid, unless the request says otherwise."""


class HttpSettings(Group):
    """The public side: who may call, how much they may send, how long they may take."""

    public_url: Annotated[str | None, AfterValidator(_public_url)] = None
    """Scheme and host that clients use (``https://api.example``); only shown in OpenAPI's ``servers``."""
    trusted_hosts: tuple[str, ...] = ("*",)
    """Values of ``Host`` that are answered; ``*.example.com`` matches subdomains, ``*`` all."""
    cors_origins: Annotated[tuple[str, ...], AfterValidator(_origins)] = ()
    """Origins that browsers may call from, spelled out. ``*`` allows all, and then no credentials."""
    cors_credentials: bool = False
    """Whether browsers may send cookies and the like. Refused together with ``*``."""
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    """Addresses (CIDR) whose ``X-Forwarded-For``, ``X-Forwarded-Proto`` and ``X-Request-ID`` are believed."""
    max_body_bytes: PositiveInt = 1_048_576
    """Largest request body, declared or streamed."""
    max_target_bytes: PositiveInt = 8_192
    """Longest path and query together."""
    max_header_bytes: PositiveInt = 32_768
    """All request header lines together."""
    max_headers: PositiveInt = 100
    """Number of request header lines."""
    max_query_parameters: PositiveInt = 100
    """Number of query parameters."""
    max_json_depth: Annotated[int, Field(ge=1, le=200)] = 32
    """Deepest nesting of a JSON body."""
    max_json_members: PositiveInt = 100
    """Members of a JSON body; no body of this API has more than a few."""
    header_timeout: PositiveFloat = 10.0
    """Seconds a client has for the request line and headers, from their first byte."""
    body_timeout: PositiveFloat = 15.0
    """Seconds a client has for the body."""
    deadline: PositiveFloat = 20.0
    """Seconds from a request's first byte of handling to its response; past that it is answered 503."""
    hsts_seconds: Annotated[int, Field(ge=0)] = 31_536_000
    """``Strict-Transport-Security`` on responses to https requests; 0 leaves it out."""


class ServerSettings(Group):
    """gunicorn and its workers."""

    host: str = "0.0.0.0"  # noqa: S104 - a container's public port
    """Address of the public port."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The public port: the API and its documentation."""
    admin_host: str = "0.0.0.0"  # noqa: S104 - probes come from the node
    """Address of the admin port."""
    admin_port: Annotated[int, Field(ge=0, le=65535)] = 9000
    """The admin port: probes and metrics. Never routed by the ingress."""
    workers: Annotated[int, Field(ge=1, le=64)] | None = None
    """Worker processes. Unset: the CPUs that the cgroup allows, at least 1."""
    worker_class: Literal["uvicorn", "asgi"] = "uvicorn"
    """``uvicorn``: uvicorn's worker with our limits on headers and time. ``asgi``: gunicorn's own."""
    keepalive: PositiveInt = 75
    """Seconds an idle connection stays open; above the ingress's upstream idle time-out (60)."""
    graceful_timeout: PositiveInt = 25
    """Seconds that requests in flight get after SIGTERM."""
    close_timeout: PositiveInt = 5
    """Seconds after that for pools to close; gunicorn's own graceful time-out is the sum of both."""
    worker_timeout: PositiveInt = 30
    """Seconds without a heartbeat after which the arbiter kills a worker (its event loop is stuck)."""
    runtime_dir: Path = Path("/tmp")  # noqa: S108 - one private folder is made in it
    """Where a private folder for metric files and heartbeats is made; a memory volume in Kubernetes."""


class LogSettings(Group):
    """Structured logs on standard output."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important events that are written."""
    format: Literal["auto", "json", "console"] = "auto"
    """``auto``: readable on a terminal, JSON otherwise."""
    requests: bool = True
    """Whether each request is a line. Those answered with 5xx always are."""
    buffer_lines: PositiveInt = 10_000
    """Lines each process keeps while standard output takes none; more are dropped and counted. No request waits for it."""


class MetricsSettings(Group):
    """Metrics on the admin port."""

    enabled: bool = True
    """Whether workers count. Without, ``/metrics`` has only what the server knows of its processes."""
    exemplars: bool = True
    """Whether latency buckets name the trace of a recorded request, for scrapers that ask for OpenMetrics."""


class TracingSettings(Group):
    """OpenTelemetry. Every request has a trace id, which is logged and answered; some are recorded, and their spans sent."""

    enabled: bool = True
    """Whether there are traces at all."""
    endpoint: Annotated[str | None, AfterValidator(_collector)] = None
    """Base URL of an OTLP/HTTP receiver (``http://collector:4318``); spans are sent to ``/v1/traces`` there. Unset: they go nowhere."""
    headers: dict[str, SecretStr] = {}
    """Headers sent to it, such as ``{"authorization": "Bearer ..."}``; a JSON object."""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Part of the traces that begin here which is recorded, decided by the trace id (OpenTelemetry's TraceIdRatioBased)."""
    honour_parent: bool = True
    """Whether a caller's ``traceparent`` decides what is recorded. False: the ratio alone does, and no caller can raise the cost."""
    queue_size: Annotated[int, Field(ge=512)] = 2048
    """Spans each worker keeps for sending; more are dropped and counted."""
    timeout: PositiveFloat = 2.0
    """Seconds the receiver may take for one batch, and a stopping worker for its last."""
    console: bool = False
    """Write each span as a log line, for development."""

    @property
    def sends(self) -> bool:
        """Whether spans go anywhere."""
        return self.console or self.endpoint is not None


class ExportSettings(Group):
    """``GET /items/export``."""

    max_seconds: PositiveFloat = 600.0
    """Longest run of one export."""
    stall_seconds: PositiveFloat = 30.0
    """Longest a client may leave a chunk unread."""
    concurrency: PositiveInt = 2
    """Exports at once in a worker (each holds a connection of the pool); more are answered 503."""
    batch: PositiveInt = 500
    """Rows fetched at a time: what an export holds in memory."""


class ItemSettings(Group):
    """What may happen to many items at once."""

    release_batch: PositiveInt = 1_000
    """Items touched by one statement when their owner is deleted."""
    release_max: PositiveInt = 50_000
    """Most items that deleting their owner may touch in its one transaction; more is 409."""


class RetrySettings(Group):
    """``Idempotency-Key``."""

    keep_seconds: PositiveInt = 86_400
    """How long a remembered answer is replayed."""
    wait_seconds: PositiveFloat = 2.0
    """How long a concurrent twin waits for the first before it is answered 409."""


class Settings(BaseSettings):
    """All settings. Build with ``load_settings()``; tests may construct it directly."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    environment: Environment = Environment.production
    database: DatabaseSettings
    security: SecuritySettings
    limits: LimitSettings = LimitSettings()
    http: HttpSettings = HttpSettings()
    server: ServerSettings = ServerSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()
    export: ExportSettings = ExportSettings()
    items: ItemSettings = ItemSettings()
    retries: RetrySettings = RetrySettings()

    @model_validator(mode="after")
    def _production_has_its_own_secrets(self) -> Self:
        if self.environment is Environment.production:
            for name in ("key_peppers", "cursor_keys"):
                values: tuple[SecretStr, ...] = getattr(self.security, name)
                if any(value.get_secret_value().startswith(DEVELOPMENT_SECRET_PREFIX) for value in values):
                    variable = variable_name(("security", name))
                    raise ValueError(
                        f"{variable}: a development secret can't be used in production; make one with `openssl rand -base64 32`"
                    )
        return self

    @model_validator(mode="after")
    def _bootstrap_key_is_ours(self) -> Self:
        key = self.security.bootstrap_key
        if key is not None and KeyRing(self.security.key_peppers).read(key.get_secret_value()) is None:
            variable = variable_name(("security", "bootstrap_key"))
            raise ValueError(
                f"{variable}: is no key made with these peppers; make one with `gantry keys create --offline`"
            )
        return self

    @model_validator(mode="after")
    def _limits_have_one_password(self) -> Self:
        if self.limits.password is not None:
            password, url = variable_name(("limits", "password")), variable_name(("limits", "url"))
            if self.limits.url is None:
                raise ValueError(f"{password}: is the password of {url}, which is not set")
            if parse_url(self.limits.url.get_secret_value()).get("password"):
                raise ValueError(f"{password}: {url} has a password too; take it out of there")
        return self

    @model_validator(mode="after")
    def _spans_fit_into_a_stop(self) -> Self:
        if self.tracing.timeout > self.server.close_timeout:
            names = variable_name(("tracing", "timeout")), variable_name(("server", "close_timeout"))
            raise ValueError(
                f"{names[0]}: must not be more than {names[1]}, in which a stopping worker sends its last spans"
            )
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.server.port == self.server.admin_port != 0:
            names = variable_name(("server", "port")), variable_name(("server", "admin_port"))
            raise ValueError(f"{names[0]}: must not be that of {names[1]}")
        return self

    @model_validator(mode="after")
    def _cors_is_safe(self) -> Self:
        if self.http.cors_credentials and "*" in self.http.cors_origins:
            origins, credentials = variable_name(("http", "cors_origins")), variable_name(("http", "cors_credentials"))
            raise ValueError(f"{origins}: '*' can't be combined with {credentials}; list the origins")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What was given in code wins over the environment, and that over files; a ``.env`` file is never read."""
        return (
            init_settings,
            env_settings,
            NestedSecretsSettingsSource(file_secret_settings, secrets_dir_missing="error"),
        )
