"""Tests in the style that FastAPI's users know: synchronous, with ``TestClient``, one small story each."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.core.config import Settings
from app.main import create_app
from tests.conftest import make_key


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    """The application on the empty database."""
    return create_app(settings)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client with a key; the application lives as long as it."""
    with TestClient(app) as client:
        assert client.portal is not None
        client.headers["X-API-Key"] = client.portal.call(make_key, client.app_state["process"].database)
        yield client


def test_read_root(client: TestClient) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert response.json()["message"] == "Hello FastAPI"


def test_create_user(client: TestClient) -> None:
    user_data = {"name": "John Doe", "email": "john@example.com", "age": 30}
    response = client.post("/api/v1/users", json=user_data)
    assert response.status_code == 201
    assert response.json() | user_data == response.json()
    assert client.get(response.headers["location"]).json() == response.json()


def test_create_user_invalid(client: TestClient) -> None:
    response = client.post("/api/v1/users", json={"name": "John Doe", "email": "john", "age": 30})
    assert response.status_code == 422
    assert [error["pointer"] for error in response.json()["errors"]] == ["/email"]


def test_read_item(client: TestClient) -> None:
    item = client.post("/api/v1/items", json={"name": "Engine"}).json()
    response = client.get(f"/api/v1/items/{item['id']}")
    assert response.status_code == 200
    assert response.json() == item


def test_read_item_not_found(client: TestClient) -> None:
    response = client.get("/api/v1/items/404")
    assert response.status_code == 404
    assert response.json()["title"] == "There is no such resource"


def test_protected(client: TestClient) -> None:
    response = client.get("/api/v1/protected")
    assert response.status_code == 200
    assert response.json()["message"] == "This is a protected endpoint"
    assert client.get("/api/v1/protected", headers={"X-API-Key": "secret-api-key"}).status_code == 401
    del client.headers["X-API-Key"]
    assert client.get("/api/v1/protected").status_code == 401


def test_limited(client: TestClient) -> None:
    responses = [client.get("/api/v1/limited") for _ in range(11)]
    assert [response.status_code for response in responses] == [200] * 10 + [429]
    assert responses[0].json() == {"message": "This endpoint is rate limited"}


def test_without_its_lifespan_nothing_is_imported_or_connected(app: FastAPI) -> None:
    """An application that was made and never started holds nothing: importing it costs no settings and no connection."""
    assert app.title == "Gantry"
    assert [route for route in app.openapi()["paths"] if route.startswith("/api/v1/users")]
