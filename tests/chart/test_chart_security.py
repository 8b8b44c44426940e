"""Every pod meets the standard `restricted`, and what else keeps one container from hurting others."""

import pytest

from tests.chart.helm import Object, Values, merged, render
from tests.chart.objects import name_of, of_kind, workload, workloads
from tests.chart.value_sets import EVERYTHING


def every_container(objects: list[Object]) -> list[tuple[str, Object]]:
    """With its pod's name, for messages."""
    return [(f"{name_of(w.owner)} {c['name']}", c) for w in workloads(objects) for c in w.containers()]


def test_every_pod_is_restricted(objects: list[Object]) -> None:
    """As https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted lists it."""
    for found in workloads(objects):
        spec, where = found.spec, name_of(found.owner)
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True, where
        assert context["runAsUser"] > 0, where
        assert context["runAsGroup"] > 0, where
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), where
        kinds = {next(iter(volume.keys() - {"name"})) for volume in spec.get("volumes", [])}
        assert kinds <= {"configMap", "emptyDir", "secret", "projected"}, where


def test_every_container_is_restricted(objects: list[Object]) -> None:
    """Those of init, sidecars, Jobs and tests too; and nothing takes back what the pod says."""
    for where, container in every_container(objects):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False, where
        assert context["readOnlyRootFilesystem"] is True, where
        assert context["capabilities"] == {"drop": ["ALL"]}, where
        assert not {"privileged", "runAsUser", "runAsNonRoot", "seccompProfile", "procMount"} & context.keys(), where
        assert all("hostPort" not in port for port in container.get("ports", [])), where


def test_only_the_dev_target_may_write_into_its_image() -> None:
    """And nothing else follows from it."""
    objects = render({"api": {"readOnlyRootFilesystem": False}})
    writable = [w for w, c in every_container(objects) if not c["securityContext"]["readOnlyRootFilesystem"]]
    assert writable == ["Deployment/gantry-api api"]
    assert workload(objects, "api").container("api")["securityContext"]["allowPrivilegeEscalation"] is False


def test_nobody_has_a_token(objects: list[Object]) -> None:
    """Nothing talks to the Kubernetes API: neither account nor pod asks for a token, and no role is bound."""
    for found in workloads(objects):
        assert found.spec["automountServiceAccountToken"] is False, name_of(found.owner)
        assert found.spec["enableServiceLinks"] is False, name_of(found.owner)
    for account in of_kind(objects, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
    assert not {o["kind"] for o in objects} & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


def test_every_container_says_what_it_needs(objects: list[Object]) -> None:
    """CPU and memory asked for, memory bounded; no CPU bound, which shows as latency."""
    for where, container in every_container(objects):
        resources = container["resources"]
        assert resources["requests"].keys() >= {"cpu", "memory"}, where
        assert "memory" in resources["limits"], where
        assert "cpu" not in resources["limits"], where


def test_every_empty_directory_is_bounded(objects: list[Object]) -> None:
    """One without a size takes the node's disk, or its memory."""
    for found in workloads(objects):
        for volume in found.spec.get("volumes", []):
            assert "emptyDir" not in volume or "sizeLimit" in volume["emptyDir"], name_of(found.owner)


def test_every_volume_is_there_and_used(objects: list[Object]) -> None:
    """A mount without a volume is refused by the server; a volume without a mount is a leftover."""
    for found in workloads(objects):
        mounted = {mount["name"] for c in found.containers() for mount in c.get("volumeMounts", [])}
        assert mounted == {volume["name"] for volume in found.spec.get("volumes", [])}, name_of(found.owner)


def test_no_secret_is_in_the_manifests(objects: list[Object]) -> None:
    """They come from Secrets that exist; whatever can read ConfigMaps and Deployments reads none."""
    assert not of_kind(objects, "Secret")
    for where, container in every_container(objects):
        for entry in container.get("env", []):
            secret = "PASSWORD" in entry["name"] or entry["name"].startswith("GANTRY_SECURITY__")
            assert not secret or "secretKeyRef" in entry["valueFrom"], (where, entry["name"])


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["minimal", "everything"])
def test_images_can_be_pulled_with_the_given_secrets(values: Values) -> None:
    """By every pod."""
    for found in workloads(render(merged(values, {"imagePullSecrets": [{"name": "registry"}]}))):
        assert found.spec["imagePullSecrets"] == [{"name": "registry"}], name_of(found.owner)


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "gantry:0.1.0"),
        ({"repository": "registry.example:5000/gantry", "tag": "2.0.0"}, "registry.example:5000/gantry:2.0.0"),
        ({"tag": "2.0.0", "digest": "sha256:" + "a" * 64}, "gantry@sha256:" + "a" * 64),
    ],
    ids=["version", "tag", "digest"],
)
def test_the_image_is_the_same_for_the_api_the_migrations_and_the_tests(image: Values, reference: str) -> None:
    """Or a migration would be of another version than the pods that wait for it."""
    own = {
        c["image"]
        for _, c in every_container(render({"image": image}))
        if c["image"].partition("@")[0].rpartition("/")[2].startswith("gantry")
    }
    assert own == {reference}
