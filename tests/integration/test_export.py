"""``/items/export``: what it holds, and in which form."""

import csv
import io
import json
from typing import Any

import httpx2
import pytest

from app.core.config import ExportSettings
from app.core.database import Database
from app.services.export import ExportFormat, Exports
from app.services.items import ItemFilter
from tests.integration.make import ITEMS, make_item, make_user, pointers
from tests.integration.tools import check_problem, execute

EXPORT = f"{ITEMS}/export"
FIELDS = ["id", "name", "description", "owner_id", "created_at", "updated_at"]

AWKWARD = [
    "a,b",
    'say "hi"',
    "two\nlines",
    "two\r\nlines",
    "\rx",
    " padded ",
    "",
    "'",
    ";",
    "\u2028",
    "\x1c",
    "\x85",
    "é\U0001f600",
]
FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    " =1",
    "\t=1",
    "\r=1",
    "\n=1",
    "\ufeff=1",
    "\uff1d1",
    "=cmd|' /C calc'!A0",
    '="a"',
]


async def export(client: httpx2.AsyncClient, form: str, **filters: Any) -> httpx2.Response:
    answer = await client.get(EXPORT, params={"format": form} | filters)
    assert answer.status_code == 200, answer.text
    return answer


def parse_csv(text: str) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows = list(reader)
    assert reader.fieldnames == FIELDS
    return rows


def parse_ndjson(text: str) -> list[dict[str, Any]]:
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def cells(item: dict[str, Any]) -> dict[str, str]:
    """An item as the cells of a table that no spreadsheet reads."""
    return {name: "" if value is None else str(value) for name, value in item.items()}


# --- what it holds ----------------------------------------------------------------------------------------------------


async def test_an_export_holds_what_the_list_holds(client: httpx2.AsyncClient, subtests: pytest.Subtests) -> None:
    owner, other = await make_user(client), await make_user(client)
    for name in ("b", "a", "ab", "B", "a"):
        for owner_id in (owner["id"], other["id"], None):
            await make_item(client, name=name, owner_id=owner_id, description=f"{name} of {owner_id}")
    queries: list[dict[str, Any]] = [
        {},
        {"owner_id": owner["id"]},
        {"owner_id": 404},
        {"name": "a", "sort": "name"},
        {"name": "a", "owner_id": owner["id"], "sort": "name"},
        {"name": "x", "sort": "name"},
    ]
    for query in queries:
        with subtests.test(query=query):
            listed = (await client.get(ITEMS, params=query | {"limit": 100})).json()["items"]
            filters = {name: value for name, value in query.items() if name != "sort"}
            assert parse_ndjson((await export(client, "ndjson", **filters)).text) == listed
            assert parse_csv((await export(client, "csv", **filters)).text) == [cells(item) for item in listed]


async def test_nothing_is_a_table_of_no_rows(client: httpx2.AsyncClient) -> None:
    assert (await export(client, "csv")).text == "id,name,description,owner_id,created_at,updated_at\r\n"
    assert (await export(client, "ndjson")).content == b""


async def test_the_headers_of_an_export(client: httpx2.AsyncClient) -> None:
    for form, media in (("csv", "text/csv"), ("ndjson", "application/x-ndjson")):
        headers = (await export(client, form)).headers
        assert headers["content-type"] == f"{media}; charset=utf-8"
        assert headers["content-disposition"] == f'attachment; filename="items.{form}"'
        assert headers["cache-control"] == "no-store"
        assert "content-length" not in headers
        assert "etag" not in headers


async def test_every_text_survives(client: httpx2.AsyncClient) -> None:
    made = [await make_item(client, name=text or "x", description=text) for text in AWKWARD]
    answer = await export(client, "csv")
    rows = parse_csv(answer.text)
    for row, item in zip(rows, made, strict=True):
        for field in ("name", "description"):
            assert row[field] in (item[field], f"'{item[field]}")
    assert answer.text.startswith(",".join(FIELDS) + "\r\n")
    assert answer.text.endswith("\r\n")
    assert parse_ndjson((await export(client, "ndjson")).text) == made


async def test_a_spreadsheet_runs_no_cell_of_it(client: httpx2.AsyncClient) -> None:
    made = [await make_item(client, name=text, description=text) for text in FORMULAS]
    made.append(await make_item(client, name="a=1", description="1-1"))
    rows = parse_csv((await export(client, "csv")).text)
    for row, text in zip(rows, FORMULAS, strict=False):
        assert (row["name"], row["description"]) == (f"'{text}", f"'{text}")
    assert rows[-1] == cells(made[-1])
    for row, item in zip(rows, made, strict=True):
        untouched = cells(item)
        assert {name: row[name] for name in FIELDS if name not in ("name", "description")} == {
            name: untouched[name] for name in FIELDS if name not in ("name", "description")
        }
    assert parse_ndjson((await export(client, "ndjson")).text) == made


# --- what it refuses --------------------------------------------------------------------------------------------------


async def test_what_an_export_can_not_be_asked(client: httpx2.AsyncClient, subtests: pytest.Subtests) -> None:
    cases = [
        ("", "/format"),
        ("?format=", "/format"),
        ("?format=xml", "/format"),
        ("?format=CSV", "/format"),
        ("?format=csv&format=csv", "/format"),
        ("?format=csv&owner_id=1_0", "/owner_id"),
        ("?format=csv&owner_id=0", "/owner_id"),
        ("?format=csv&name=", "/name"),
        ("?format=csv&name=%00", "/name"),
        ("?format=csv&limit=1", "/limit"),
        ("?format=csv&sort=id", "/sort"),
        ("?format=csv&cursor=x", "/cursor"),
    ]
    for query, pointer in cases:
        with subtests.test(query=query):
            problem = check_problem(await client.get(EXPORT + query), 422, "validation-failed")
            assert pointers(problem) == [("query", pointer)]


async def test_the_form_and_what_the_client_accepts_must_agree(
    client: httpx2.AsyncClient, subtests: pytest.Subtests
) -> None:
    cases = [
        ("csv", "text/csv", 200),
        ("csv", "*/*", 200),
        ("csv", "text/*;q=0.1", 200),
        ("csv", "application/json, text/csv;q=0.1", 200),
        ("csv", "text/csv; charset=utf-8", 200),
        ("csv", "application/x-ndjson", 406),
        ("csv", "application/json", 406),
        ("csv", "text/csv;q=0, */*;q=0", 406),
        ("ndjson", "application/x-ndjson", 200),
        ("ndjson", "application/*", 200),
        ("ndjson", "text/csv", 406),
    ]
    for form, accept, status in cases:
        with subtests.test(form=form, accept=accept):
            answer = await client.get(EXPORT, params={"format": form}, headers={"Accept": accept})
            if status == 200:
                assert answer.status_code == 200
            else:
                check_problem(answer, 406, "not-acceptable")


# --- one snapshot -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", list(ExportFormat))
async def test_what_happens_meanwhile_does_not_show(database: Database, database_url: str, form: ExportFormat) -> None:
    execute(database_url, "INSERT INTO items (name) SELECT 'item ' || n FROM generate_series(1, 20) AS n")
    exports = Exports(database, ExportSettings(batch=3))
    expected = b"".join([chunk async for chunk in exports.items(ItemFilter(), form)])

    chunks = exports.items(ItemFilter(), form)
    received = [await anext(chunks)]
    assert len(received[0].splitlines()) <= 4
    for change in (
        "DELETE FROM items WHERE id > 15",
        "UPDATE items SET name = 'changed', version = version + 1",
        "INSERT INTO items (name) VALUES ('late')",
        "INSERT INTO items (id, name) OVERRIDING SYSTEM VALUE VALUES (-1, 'early')",
    ):
        execute(database_url, change)
    received += [chunk async for chunk in chunks]
    assert b"".join(received) == expected
    assert len(received) == 7
    assert all(received)
