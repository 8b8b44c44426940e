"""``HEAD`` is ``GET`` without its body (RFC 9110 §9.3.2): the same status and the same headers, for every route and every answer."""

import httpx2
import pytest
from fastapi.routing import iter_route_contexts

from tests.conftest import Api
from tests.integration.make import ITEMS, USERS, fresh_resources

OF_THE_MOMENT = {"x-request-id", "x-trace-id", "ratelimit"}
"""Headers that no two answers have in common."""

QUERIES = {f"{ITEMS}/export": "?format=csv"}

OTHER_ANSWERS: list[tuple[str, dict[str, str]]] = [
    (f"{USERS}/{{user_id}}", {"If-None-Match": '"1"'}),
    (f"{USERS}/{{user_id}}", {"Accept": "text/html"}),
    (f"{USERS}/{{user_id}}", {"X-API-Key": "wrong"}),
    (f"{USERS}/404", {}),
    (f"{USERS}/x", {}),
    (f"{USERS}?limit=0", {}),
    (f"{ITEMS}?limit=1", {}),
    (f"{ITEMS}/export", {}),
    (f"{ITEMS}/export?format=csv", {"Accept": "application/json"}),
    ("/nowhere", {}),
]


def same(head: httpx2.Response, get: httpx2.Response) -> None:
    """Assert that the one is the other without its body."""
    assert (head.status_code, head.content) == (get.status_code, b"")
    headers = [
        {name: value for name, value in answer.headers.items() if name not in OF_THE_MOMENT} for answer in (head, get)
    ]
    assert headers[0] == headers[1]
    assert set(head.headers) == set(get.headers)


async def test_head_is_get_without_its_body(api: Api, client: httpx2.AsyncClient, subtests: pytest.Subtests) -> None:
    places = await fresh_resources(client)
    routes = [str(route.path_format) for route in iter_route_contexts(api.app.routes) if "GET" in (route.methods or ())]
    assert len(routes) > 10
    targets: list[tuple[str, dict[str, str]]] = [(path + QUERIES.get(path, ""), {}) for path in routes] + OTHER_ANSWERS
    for template, headers in targets:
        target = template.format(**places)
        with subtests.test(target=target, headers=headers):
            get = await client.get(target, headers=headers)
            assert get.content or get.status_code == 304
            same(await client.head(target, headers=headers), get)
