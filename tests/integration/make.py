"""Users and items that a test needs, made over HTTP; and what every answer about them has in common."""

import itertools
import re
from typing import Any

import httpx2

USERS = "/api/v1/users"
ITEMS = "/api/v1/items"
KEYS = "/api/v1/api-keys"

NEW_KEY = {"name": "new", "scopes": ["users:read"]}

RFC_3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

NO_IDS = [
    "0",
    "-1",
    "007",
    "+1",
    "1.0",
    "1_000",
    "1e3",
    "%201",
    "1%20",
    "1%0A",
    "1%0A/",
    "%D9%A1",  # the digit one in Arabic
    "one",
    "9223372036854775808",
    "99999999999999999999",
]
"""Last parts of a path that some framework would take for an id."""

_numbers = itertools.count(1)


async def make_user(client: httpx2.AsyncClient, **fields: Any) -> dict[str, Any]:
    """A user, with an address of its own unless told."""
    body = {"name": "Ada", "email": f"user{next(_numbers)}@example.com", "age": 36} | fields
    return _made(await client.post(USERS, json=body))


async def make_item(client: httpx2.AsyncClient, **fields: Any) -> dict[str, Any]:
    """An item."""
    return _made(await client.post(ITEMS, json={"name": "Engine"} | fields))


async def fresh_resources(client: httpx2.AsyncClient) -> dict[str, Any]:
    """What the templates of routes name: a user with three items, one of these, a key, and parts of the documentation."""
    user = await make_user(client)
    for _ in range(3):
        item = await make_item(client, owner_id=user["id"])
    key = await client.post(KEYS, json=NEW_KEY)
    return {
        "user_id": user["id"],
        "item_id": item["id"],
        "key_id": key.json()["id"],
        "slug": "not-found",
        "folder": "site",
        "file": "docs.css",
    }


def _made(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


def pointers(problem: dict[str, Any]) -> list[tuple[str, str]]:
    """What a problem document says is wrong: the part of the request and the pointer, of each entry."""
    return [(error["in"], error["pointer"]) for error in problem["errors"]]
