"""Each endpoint sends a declared number of SQL statements; one that is not declared here fails the test.

Counted at the driver, whatever layer a statement comes from, and in the context of the request alone: the process has work of its own
in the background. ``BEGIN``, ``COMMIT`` and the fetches of a cursor are not counted. The caller's key is known already.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpx2
import psycopg
import pytest
from fastapi.routing import iter_route_contexts

from app.models import Base
from tests.conftest import CURSOR_KEY, PEPPER, Api, live, make_settings
from tests.integration.make import ITEMS, KEYS, NEW_KEY, USERS, fresh_resources, make_item, make_user

_seen: ContextVar[list[str] | None] = ContextVar("seen", default=None)


@dataclass(frozen=True)
class Cost:
    """The statements of an endpoint in one of its cases."""

    method: str
    template: str
    statements: int
    status: int = 200
    query: str = ""
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()


NEW_USER = {"name": "Ada", "email": "new@example.com", "age": 36}
ONCE = (("Idempotency-Key", "first"),)
STALE = (("If-Match", '"9"'),)

COSTS = [
    Cost("POST", USERS, 1, 201, body=NEW_USER),
    Cost("POST", USERS, 3, 201, body=NEW_USER, headers=ONCE),  # claim the key, insert, remember the answer
    Cost("GET", USERS, 1),
    Cost("GET", USERS, 1, query="?sort=-name&name=A&email=ada@example.com"),
    Cost("GET", USERS + "/{user_id}", 1),
    Cost("GET", USERS + "/{user_id}", 1, 304, headers=(("If-None-Match", "*"),)),
    Cost("GET", USERS + "/404", 1, 404),
    Cost("PATCH", USERS + "/{user_id}", 1, body={"age": 1}),
    Cost("PATCH", USERS + "/{user_id}", 1, body={}),
    Cost("PATCH", USERS + "/{user_id}", 2, 412, body={"age": 1}, headers=STALE),  # was it there at all?
    Cost("PATCH", USERS + "/404", 1, 404, body={"age": 1}),
    Cost("DELETE", USERS + "/{user_id}", 1, 409),
    Cost("DELETE", USERS + "/{user_id}", 5, 204, query="?items=release"),  # hold, too many?, two batches, delete
    Cost("DELETE", USERS + "/{user_id}", 5, 204, query="?items=delete"),
    Cost("DELETE", USERS + "/{user_id}", 2, 412, query="?items=delete", headers=STALE),
    Cost("POST", ITEMS, 1, 201, body={"name": "Engine"}),
    Cost("POST", ITEMS, 1, 422, body={"name": "Engine", "owner_id": 404}),
    Cost("GET", ITEMS, 1),
    Cost("GET", ITEMS, 1, query="?owner_id={user_id}&name=E&sort=name&limit=1"),
    Cost("GET", ITEMS + "/{item_id}", 1),
    Cost("PATCH", ITEMS + "/{item_id}", 1, body={"owner_id": None}),
    Cost("PATCH", ITEMS + "/{item_id}", 1, body={}),
    Cost("DELETE", ITEMS + "/{item_id}", 1, 204),
    Cost("GET", ITEMS + "/export", 1, query="?format=csv"),
    Cost("GET", ITEMS + "/export", 1, query="?format=ndjson&owner_id={user_id}"),
    Cost("HEAD", ITEMS + "/export", 0, query="?format=csv"),
    Cost("POST", KEYS, 2, 201, body=NEW_KEY),  # the key, its secret
    Cost("GET", KEYS, 1),
    Cost("GET", KEYS + "/{key_id}", 1),
    Cost("DELETE", KEYS + "/{key_id}", 2, 204),  # hold, revoke
    Cost("POST", KEYS + "/{key_id}/rotate", 4, 201),  # hold, next version, end the former secrets, add one
    Cost("GET", "/api/v1/limited", 0),
    Cost("GET", "/api/v1/protected", 0),
    Cost("GET", "/", 0),
    Cost("GET", "/openapi.json", 0),
    Cost("GET", "/docs", 0),
    Cost("GET", "/redoc", 0),
    Cost("GET", "/docs/guide", 0),
    Cost("GET", "/docs/problems", 0),
    Cost("GET", "/docs/problems/{slug}", 0),
    Cost("GET", "/docs/static/{folder}/{file}", 0),
]


@contextmanager
def counting() -> Iterator[list[str]]:
    """The statements that the block's own requests send."""
    seen: list[str] = []
    token = _seen.set(seen)
    with pytest.MonkeyPatch.context() as patch:
        for cursor in (psycopg.AsyncCursor, psycopg.AsyncServerCursor):
            patch.setattr(cursor, "execute", _noting(cursor.execute))
        try:
            yield seen
        finally:
            _seen.reset(token)


def _noting(execute: Any) -> Any:
    async def noted(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        seen = _seen.get()
        if seen is not None:
            seen.append(str(query))
        return await execute(self, query, *args, **kwargs)

    return noted


async def test_the_statements_of_each_endpoint(database_url: str, subtests: pytest.Subtests) -> None:
    security = {"key_peppers": [PEPPER], "cursor_keys": [CURSOR_KEY], "key_cache_seconds": 300}
    settings = make_settings(database_url, items={"release_batch": 2}, security=security)
    async with live(settings) as api, api.client() as client:
        for cost in COSTS:
            with subtests.test(cost=cost):
                places = await fresh_resources(client)
                target = (cost.template + cost.query).format(**places)
                with counting() as seen:
                    answer = await client.request(cost.method, target, json=cost.body, headers=dict(cost.headers))
                assert answer.status_code == cost.status, answer.text
                assert len(seen) == cost.statements, seen
                if cost.status == 201:
                    await client.delete(answer.headers["location"])


def test_every_route_is_declared(api: Api) -> None:
    mounted = {
        (method, str(route.path_format))
        for route in iter_route_contexts(api.app.routes)
        for method in route.methods or ()
    }
    assert mounted <= {(cost.method, cost.template) for cost in COSTS}


async def test_a_caller_costs_one_statement_once(api: Api) -> None:
    async with api.client(await api.key_with()) as client:
        with counting() as seen:
            assert (await client.get("/api/v1/protected")).status_code == 200
        assert len(seen) == 1
        with counting() as seen:
            assert (await client.get("/api/v1/protected")).status_code == 200
        assert seen == []


async def test_a_replay_costs_two_statements(client: httpx2.AsyncClient) -> None:
    headers = {"Idempotency-Key": "first"}
    await client.post(USERS, json=NEW_USER, headers=headers)
    with counting() as seen:
        replayed = await client.post(USERS, json=NEW_USER, headers=headers)
    assert replayed.headers["idempotent-replayed"] == "true"
    assert len(seen) == 2


async def test_a_page_costs_one_statement_however_many_rows_it_has(client: httpx2.AsyncClient) -> None:
    owner = await make_user(client)
    for _ in range(5):
        await make_item(client, owner_id=owner["id"])
    with counting() as seen:
        assert len((await client.get(ITEMS)).json()["items"]) == 5
    assert len(seen) == 1


def test_no_relationship_loads_lazily() -> None:
    relationships = [relationship for mapper in Base.registry.mappers for relationship in mapper.relationships]
    assert relationships
    assert {relationship.lazy for relationship in relationships} == {"raise"}
