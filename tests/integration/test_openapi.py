"""The API's description: committed, complete, and equal to what is served."""

import json
from typing import Any

import httpx2
import pytest
from fastapi.routing import iter_route_contexts

from app.api.catalogue import CATALOGUE
from app.main import create_app
from tests.conftest import make_settings


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(make_settings("postgresql://nobody@127.0.0.1:1/none")).openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, op) for path, methods in document["paths"].items() for method, op in methods.items()]


async def test_the_served_document_is_the_same(client: httpx2.AsyncClient, document: dict[str, Any]) -> None:
    assert (await client.get("/openapi.json")).json() == document


def test_operation_ids_are_stable_and_unique(document: dict[str, Any]) -> None:
    ids = [op["operationId"] for _, _, op in operations(document)]
    assert len(ids) == len(set(ids))
    assert all(name.isidentifier() for name in ids)


def test_every_operation_states_its_access_and_its_errors(document: dict[str, Any]) -> None:
    for path, method, op in operations(document):
        responses = set(op["responses"])
        assert {"400", "429", "500", "503"} <= responses, (path, method)
        if op["security"]:
            assert "401" in responses
        if op["security"] and op["security"][0]["ApiKey"]:
            assert "403" in responses
            assert op["security"][0]["ApiKey"][0] in op["description"]
        if method == "post":
            assert {"409", "422"} <= responses
        if "requestBody" in op:
            assert {"400", "413", "415", "422"} <= responses
        if method in ("patch", "delete"):
            assert "412" in responses
        if "{" in path:
            assert "404" in responses


def test_no_reference_leads_nowhere_and_no_stock_error_is_left(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    assert "HTTPValidationError" not in text

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [r for value in node.values() for r in references(value)]
        return [r for value in node for r in references(value)] if isinstance(node, list) else []

    for reference in references(document):
        here: Any = document
        for part in reference.removeprefix("#/").split("/"):
            here = here[part.replace("~1", "/")]


def test_every_problem_is_shown(document: dict[str, Any]) -> None:
    shown = {
        example["value"]["type"]
        for response in document["components"]["responses"].values()
        for content in response["content"].values()
        for example in content["examples"].values()
    }
    assert shown == {kind.type for kind in CATALOGUE.values()}


def test_every_request_body_shows_an_example(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for path, _, op in operations(document):
        for content in op.get("requestBody", {}).get("content", {}).values():
            text = json.dumps(content["schema"])
            (name,) = [name for name in schemas if f'schemas/{name}"' in text]
            own = schemas[name]
            assert own.get("examples") or all("examples" in json.dumps(p) for p in own["properties"].values()), (
                path,
                name,
            )


def test_versions_and_retries_are_described(document: dict[str, Any]) -> None:
    assert {"$ref": "#/components/parameters/IdempotencyKey"} in document["paths"]["/api/v1/users"]["post"][
        "parameters"
    ]
    user = document["paths"]["/api/v1/users/{user_id}"]
    assert {"$ref": "#/components/parameters/IfNoneMatch"} in user["get"]["parameters"]
    assert {"$ref": "#/components/parameters/IfMatch"} in user["patch"]["parameters"]
    assert "304" in user["get"]["responses"]
    assert "application/merge-patch+json" in user["patch"]["requestBody"]["content"]


def test_a_route_that_is_not_ours_stops_the_description() -> None:
    app = create_app(make_settings("postgresql://nobody@127.0.0.1:1/none"))
    app.add_api_route("/stray", lambda: None, methods=["GET"])
    with pytest.raises(TypeError, match="/stray is no route of ours"):
        app.openapi()
    assert any(route.path == "/stray" for route in iter_route_contexts(app.routes))
