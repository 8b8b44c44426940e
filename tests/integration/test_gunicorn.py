"""The main job, over sockets: users, items and keys through gunicorn and its workers on PostgreSQL."""

import httpx2

from app.core.schema import HEAD
from tests.gunicorn import LiveApi
from tests.integration.server_process import until, value_of


def test_the_main_job(live_api: LiveApi) -> None:
    with live_api.client() as client:
        user = client.post("/api/v1/users", json={"name": "Ada", "email": "ada@main.example", "age": 36})
        assert user.status_code == 201, user.text
        item = client.post("/api/v1/items", json={"name": "Engine", "owner_id": user.json()["id"]})
        assert item.status_code == 201, item.text
        assert client.get(item.headers["location"]).json() == item.json()
        assert client.get(item.headers["location"], headers={"If-None-Match": item.headers["etag"]}).status_code == 304
        renamed = client.patch(item.headers["location"], json={"name": "Loom"}, headers={"If-Match": '"1"'})
        assert (renamed.status_code, renamed.json()["name"], renamed.headers["etag"]) == (200, "Loom", '"2"')
        late = client.patch(item.headers["location"], json={"name": "Mill"}, headers={"If-Match": '"1"'})
        assert late.status_code == 412
        assert client.delete(user.headers["location"]).status_code == 409
        assert client.delete(user.headers["location"] + "?items=release").status_code == 204
        assert client.get(item.headers["location"]).json()["owner_id"] is None

        narrow = client.post("/api/v1/api-keys", json={"name": "reader", "scopes": ["items:read"]}).json()
        reader = {"X-API-Key": narrow["key"]}
        assert client.get(item.headers["location"], headers=reader).status_code == 200
        assert client.delete(item.headers["location"], headers=reader).status_code == 403
        assert client.delete(f"/api/v1/api-keys/{narrow['id']}").status_code == 204
    assert httpx2.get(f"{live_api.url}/api/v1/items").status_code == 401


def test_a_request_is_one_log_line(live_api: LiveApi) -> None:
    with live_api.client() as client:
        answer = client.get("/api/v1/users/9223372036854775807")
    line = live_api.line(answer.headers["x-request-id"])
    assert (line["route"], line["method"], line["status"]) == ("/api/v1/users/{user_id}", "GET", 404)
    assert line["key_id"] >= 1
    assert line["duration_ms"] > 0
    assert live_api.key not in live_api.log.read_text()


def test_probes_and_metrics_are_on_the_admin_port_alone(live_api: LiveApi) -> None:
    with live_api.client() as client:
        client.get("/api/v1/users/9223372036854775807")
        for path in ("/livez", "/readyz", "/metrics"):
            assert client.get(path).status_code == 404
    assert httpx2.get(f"{live_api.admin_url}/livez").status_code == 200
    wanted = ['handler="/api/v1/users/{user_id}",method="GET",status="404"', 'gantry_gc_pauses_total{generation="0"}']
    until(lambda: all(text in httpx2.get(f"{live_api.admin_url}/metrics").text for text in wanted))
    metrics = httpx2.get(f"{live_api.admin_url}/metrics").text
    assert 'handler="/api/v1/users/{user_id}",method="GET",status="404"' in metrics
    assert value_of(metrics, "gantry_schema_revision") == HEAD
    assert value_of(metrics, "gantry_event_loop_lag_seconds_count") > 0
