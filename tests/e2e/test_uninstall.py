"""Away with it: nothing is left but what the release did not make."""

from tests.e2e.cluster import RELEASE, kubectl, wait_until
from tests.e2e.release import Release

LABEL = f"app.kubernetes.io/instance={RELEASE}"
OF_OTHERS = {"events", "events.events.k8s.io", "pods.metrics.k8s.io", "nodes.metrics.k8s.io"}


def remaining() -> list[str]:
    """Objects of every kind that the cluster knows, in all namespaces, by the release's label."""
    kinds = [kind for kind in kubectl("api-resources", "--verbs=list", "-o", "name").split() if kind not in OF_OTHERS]
    assert len(kinds) > 30
    return kubectl("get", ",".join(kinds), "--all-namespaces", "-l", LABEL, "-o", "name", "--ignore-not-found").split()


def test_uninstalling_leaves_nothing(release: Release) -> None:
    before = remaining()
    assert len(before) > 20, "the control: the same look finds what is there"
    release.uninstall()
    wait_until("nothing of it is left", lambda: not remaining(), 60)
    secrets = kubectl("get", "secrets", "-o", "name").split()
    assert not [name for name in secrets if "helm" in name]
    assert "secret/gantry-security" in secrets, "what the release did not make is left alone"
