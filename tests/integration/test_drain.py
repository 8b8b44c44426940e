"""SIGUSR1 to the whole application: what a client and the ingress see of a pod that is about to be stopped."""

import signal
import time
from pathlib import Path

import httpx2
import pytest

from tests.conftest import make_database
from tests.gunicorn import running_api


@pytest.mark.parametrize("worker_class", ["uvicorn", "asgi"])
def test_a_draining_server_answers_and_sends_clients_elsewhere(
    tmp_path: Path, worker_id: str, worker_class: str
) -> None:
    database = make_database(f"drain_{worker_class}_{worker_id}")
    with running_api(database, tmp_path, SERVER__WORKER_CLASS=worker_class) as api, api.client() as kept:
        before = kept.get("/api/v1/users")
        assert (before.status_code, "close" in before.headers.get("connection", "")) == (200, False)
        api.process.send_signal(signal.SIGUSR1)
        until = time.monotonic() + 10
        while httpx2.get(f"{api.admin_url}/readyz").status_code != 503:
            assert time.monotonic() < until, api.log.read_text()
            time.sleep(0.02)
        # On the connection that was kept, and on new ones of all workers: refused by none, and kept by none.
        answers = [kept.get("/api/v1/users") for _ in range(20)]
        answers.append(kept.get("/api/v1/nowhere"))
        with httpx2.Client(base_url=api.url) as stranger:
            answers.append(stranger.get("/api/v1/users"))
        assert [answer.status_code for answer in answers] == [200] * 20 + [404, 401]
        assert {answer.headers.get("connection") for answer in answers} == {"close"}
        created = kept.post("/api/v1/users", json={"name": "Ada", "email": "ada@example.com", "age": 36})
        assert created.status_code == 201
        assert httpx2.get(f"{api.admin_url}/livez").status_code == 200
