"""`make deploy` from nothing, and then what a newcomer does."""

from collections.abc import Callable

import httpx2

from tests.e2e.cluster import NAMESPACE, RELEASE, get, kubectl, run, selector, wait_until
from tests.e2e.release import Release
from tests.tour import pages, take_the_tour


def test_the_tour_of_the_readme_through_the_ingress(release: Release) -> None:
    for page in pages():
        assert httpx2.get(release.origin + page).status_code == 200, page
    take_the_tour(release.api, release.key)


def test_probes_and_metrics_are_not_on_the_public_side(release: Release) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        assert httpx2.get(release.origin + path).status_code == 404, path


def test_the_client_is_whom_the_ingress_saw(release: Release) -> None:
    """Behind the ingress all requests come from one address: without trust in it, all clients without a key would share one limit."""
    request_id = "e2e-client-address"
    spoofed = {"X-Forwarded-For": "203.0.113.7", "X-Request-ID": request_id}
    assert httpx2.get(f"{release.origin}/", headers=spoofed).status_code == 200
    traefik = {pod["status"]["podIP"] for pod in get("pods", namespace="traefik")["items"]}

    def line() -> str | None:
        said = kubectl("logs", "-l", selector("api"), "-c", "api", "--tail=200")
        return next((line for line in said.splitlines() if request_id in line), None)

    found = wait_until("the request's line in the log", line, 20)
    assert "203.0.113.7" not in found, "Traefik believed its client, or the API did"
    assert not any(f'"{address}"' in found for address in traefik), "the API did not believe Traefik"


def test_deploying_the_same_again_changes_nothing(release: Release) -> None:
    def state() -> list[str]:
        found = get("pods", "-l", f"app.kubernetes.io/instance={RELEASE}")["items"]
        return sorted(
            f"{pod['metadata']['uid']} {pod['metadata']['name']}"
            for pod in found
            if "-api-" not in pod["metadata"]["name"]
        )

    def template() -> str:
        return str(get("deployment", f"{RELEASE}-api")["spec"]["template"])

    before = (state(), template())
    assert f'KEY="X-API-Key: {release.key}"' in run("make", "--silent", "deploy", seconds=300).stdout
    assert (state(), template()) == before


def test_helm_test(release: Release, keep: Callable[..., None]) -> None:
    tested = run("helm", "test", RELEASE, "-n", NAMESPACE, "--timeout", "4m", seconds=300).stdout
    suites = tested.count("TEST SUITE:")
    assert suites >= 5
    assert tested.count("Phase:          Succeeded") == suites
    keep(test_pods=suites)


def test_helm_test_notices_an_api_without_its_limits(release: Release) -> None:
    """The control: something that is away is seen."""
    kubectl("scale", "deployment", f"{RELEASE}-limits", "--replicas=0")
    try:
        only = ("--filter", f"name={RELEASE}-test-limits", "--timeout", "45s")
        tested = run("helm", "test", RELEASE, "-n", NAMESPACE, *only, check=False)
        assert tested.returncode != 0
    finally:
        kubectl("scale", "deployment", f"{RELEASE}-limits", "--replicas=1")
        kubectl("rollout", "status", "deployment", f"{RELEASE}-limits", "--timeout=60s")
        kubectl("delete", "pod", "-l", selector("test"), "--ignore-not-found")
