"""A query parameter is known and given once, or the request is refused: none may change what it does in silence."""

import httpx2
import pytest

from tests.conftest import Api
from tests.integration.make import ITEMS, USERS, fresh_resources
from tests.integration.tools import check_problem


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", USERS + "?limit=1&limit=2"),
        ("GET", USERS + "?page=2"),
        ("GET", ITEMS + "/{item_id}?fields=name"),
        ("GET", ITEMS + "/export?format=csv&format=ndjson"),
        ("POST", USERS + "?dry_run=true"),
        ("DELETE", USERS + "/{user_id}?item=release"),
        ("DELETE", USERS + "/{user_id}?items=release&items=delete"),
        ("GET", "/api/v1/protected?verbose"),
    ],
)
async def test_an_unknown_or_doubled_parameter_is_refused(client: httpx2.AsyncClient, method: str, target: str) -> None:
    places = await fresh_resources(client)
    body = {"name": "Bo", "email": "bo@example.com", "age": 1} if method == "POST" else None
    answer = await client.request(method, target.format(**places), json=body)
    (entry,) = check_problem(answer, 422, "validation-failed")["errors"]
    assert entry["in"] == "query"
    assert (await client.get(f"{USERS}/{places['user_id']}")).status_code == 200


async def test_public_pages_take_what_links_to_them_append(api: Api) -> None:
    async with api.client("") as client:
        for target in ("/?utm_source=mail", "/docs?x=1", "/api/v1/limited?x=1&x=2"):
            assert (await client.get(target)).status_code == 200
