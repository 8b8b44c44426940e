"""Who may do what: every route with keys that lack its scope, and with keys that are none."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi.routing import iter_route_contexts
from sqlalchemy import text

from app.api.access import PUBLIC, Audience
from app.api.routing import Route
from app.core.config import LimitSettings
from app.core.scopes import Scope
from app.main import create_app
from tests.conftest import Api, live, make_settings
from tests.integration.keys import KEYS, create, id_of, status_with
from tests.integration.tools import RING, check_problem, execute, send

CHALLENGE = 'ApiKey realm="gantry", header="X-API-Key"'


def operations() -> list[tuple[str, str, Scope | Audience]]:
    """Every operation that is mounted: its method, a path of it, and its audience."""
    found = []
    for context in iter_route_contexts(create_app(make_settings("postgresql://nobody@127.0.0.1:1/none")).routes):
        route = context.original_route
        assert isinstance(route, Route)
        path = re.sub(r"\{\w+\}", "1", str(context.path_format))
        found += [(method, path, route.access.audience) for method in sorted(context.methods or ())]
    return found


OPERATIONS = operations()
PROTECTED = [operation for operation in OPERATIONS if operation[2] is not PUBLIC]
SCOPED = [(method, path, audience) for method, path, audience in OPERATIONS if isinstance(audience, Scope)]


def test_the_matrix_has_all_operations() -> None:
    assert len(SCOPED) >= 16
    assert len(PROTECTED) > len(SCOPED)


async def test_a_key_without_the_scope_is_refused_everywhere(api: Api, subtests: pytest.Subtests) -> None:
    without = {needed: await api.key_with(*(scope for scope in Scope if scope is not needed)) for needed in Scope}
    for method, path, needed in SCOPED:
        with subtests.test(method=method, path=path):
            async with api.client(without[needed]) as client:
                answer = await client.request(method, path)
            assert needed.value in check_problem(answer, 403, "forbidden")["detail"]
            assert "ratelimit" in answer.headers


async def test_a_key_with_only_the_scope_is_let_in(api: Api, subtests: pytest.Subtests) -> None:
    only = {needed: await api.key_with(needed) for needed in Scope}
    for method, path, needed in SCOPED:
        with subtests.test(method=method, path=path):
            async with api.client(only[needed]) as client:
                answer = await client.request(method, path)
            assert answer.status_code < 500
            assert answer.status_code not in (401, 403)


@asynccontextmanager
async def bad_keys(api: Api) -> AsyncIterator[dict[str, str | None]]:
    """Each way in which a key can be wrong."""
    async with api.client() as client:
        revoked = await create(client, name="revoked")
        await client.delete(f"{KEYS}/{revoked['id']}")
        rotated = await create(client, name="rotated")
        await client.post(f"{KEYS}/{rotated['id']}/rotate", json={"overlap_seconds": 0})
    expired = await api.key_with(Scope.users_read)
    async with api.process.database.transaction() as session:
        past = text("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = :id")
        await session.execute(past, {"id": id_of(expired)})
    typo = api.key[:-1] + ("A" if api.key[-1] != "A" else "B")
    yield {
        "none": None,
        "empty": "",
        "malformed": "secret-api-key",
        "typo": typo,
        "other case": api.key.upper(),
        "longer": api.key + "0",
        "not ASCII": "gantry_\u00e9",
        "megabyte": "g" * 30_000,
        "unknown": RING.mint(4_000_000_000).get_secret_value(),
        "unknown secret of a known key": RING.mint(1).get_secret_value(),
        "largest id": RING.mint(2**63 - 1).get_secret_value(),
        "expired": expired,
        "revoked": revoked["key"],
        "rotated": rotated["key"],
    }


async def test_every_wrong_key_gets_the_same_401_everywhere(api: Api) -> None:
    documents = set()
    async with bad_keys(api) as keys:
        for name, key in keys.items():
            headers: list[tuple[str, str | bytes]] = [("Host", "api.test")]
            headers += [] if key is None else [("X-API-Key", key.encode("latin-1"))]
            for method, path, _ in PROTECTED:
                answer = await send(api, method, path, headers)
                problem = check_problem(answer, 401, "unauthorized")
                assert answer.headers["www-authenticate"] == CHALLENGE, (name, method, path)
                documents.add(json.dumps(problem | {"instance": "", "trace_id": ""}))
    assert len(documents) == 1


async def test_an_unknown_scope_of_a_newer_version_harms_nothing(api: Api, database_url: str) -> None:
    key = await api.key_with(Scope.users_read)
    execute(database_url, "UPDATE api_keys SET scopes = '{users:read,teapots:brew}' WHERE name = 'test' AND id = 2")
    async with api.client(key) as client:
        assert (await client.get("/api/v1/users")).status_code == 200
        assert (await client.get("/api/v1/protected")).status_code == 200
    async with api.client() as client:
        assert (await client.get(KEYS)).status_code == 200


async def test_guesses_are_limited_by_address(database_url: str) -> None:
    settings = make_settings(database_url, limits=LimitSettings(default="5/minute"))
    async with live(settings) as api, api.client("guess") as stranger:
        answers = [await stranger.get("/api/v1/users") for _ in range(7)]
        assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
        assert await status_with(api, api.key) == 200
