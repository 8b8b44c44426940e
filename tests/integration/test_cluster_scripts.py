"""What `make cluster`, `deploy`, `e2e` and `cluster-down` say where something that they need is missing: one sentence, and no success."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

BASICS = ("bash", "dirname", "grep", "mkdir", "mv", "rm", "timeout")
ANSWERS = "#!/bin/sh\nexit 0\n"
FAILS = "#!/bin/sh\nexit 1\n"


def said(folder: Path, script: str, *, programs: dict[str, str], **variables: str) -> str:
    """Run a script of a copy of k8s/ where only these programs are on the PATH; it has to fail."""
    path = folder / "bin"
    path.mkdir()
    for name in BASICS:
        found = shutil.which(name)
        assert found
        (path / name).symlink_to(found)
    for name, text in programs.items():
        (path / name).write_text(text)
        (path / name).chmod(0o755)
    shutil.copytree("k8s", folder / "k8s")
    done = subprocess.run(
        [shutil.which("bash") or "bash", folder / "k8s" / script],
        env={"PATH": str(path), "HOME": os.environ["HOME"]} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr.splitlines()[-1]


CASES: list[tuple[str, dict[str, str], dict[str, str], str]] = [
    ("kind.sh", {}, {}, "make cluster: docker is missing. Install Docker"),
    ("kind.sh", {"docker": FAILS}, {}, "make cluster: Docker is installed, but its daemon does not answer"),
    ("kind.sh", {"docker": ANSWERS}, {}, "make cluster: kind is missing. Install it"),
    ("cluster.sh", {"docker": ANSWERS}, {}, "make cluster: kind is missing. Install it"),
    (
        "cluster.sh",
        {"kind": FAILS},
        {"CLUSTER_SCRIPT": "true"},
        "make cluster: true has left no kind cluster named gantry",
    ),
    ("cluster.sh", {}, {"KUBECONFIG": "/none"}, "make cluster: kubectl is missing. Install it"),
    (
        "cluster.sh",
        {"kubectl": FAILS},
        {"KUBECONFIG": "/none"},
        "make cluster: the cluster of KUBECONFIG (/none) does not answer",
    ),
    ("deploy.sh", {}, {}, "make deploy: kubectl is missing. Install it"),
    ("deploy.sh", {"kubectl": ANSWERS}, {}, "make deploy: there is no cluster: run `make cluster` first"),
    ("deploy.sh", {"kubectl": ANSWERS}, {"KUBECONFIG": "/one"}, "make deploy: helm is missing. Install it"),
    (
        "deploy.sh",
        {"kubectl": ANSWERS, "helm": ANSWERS},
        {"KUBECONFIG": "/one"},
        "make deploy: this is no kind cluster: push an image, and set IMAGE=repository:tag.",
    ),
    ("e2e.sh", {"kubectl": ANSWERS}, {}, "make e2e: there is no cluster: run `make cluster` first"),
    ("e2e.sh", {"kubectl": ANSWERS}, {"KUBECONFIG": "/one"}, "make e2e: docker is missing. Install Docker"),
    (
        "e2e.sh",
        {"kubectl": ANSWERS, "docker": FAILS},
        {"KUBECONFIG": "/one"},
        "make e2e: Docker is installed, but its daemon does not answer",
    ),
    (
        "e2e.sh",
        dict.fromkeys(("kubectl", "docker", "kind", "helm"), ANSWERS),
        {"KUBECONFIG": "/one"},
        "make e2e: k6 is missing. Install it",
    ),
    ("down.sh", {}, {}, "make cluster-down: docker is missing. Install Docker"),
    (
        "down.sh",
        {"kubectl": FAILS},
        {"KUBECONFIG": "/none"},
        "make cluster-down: the cluster of KUBECONFIG (/none) does not",
    ),
]


@pytest.mark.parametrize(("script", "programs", "variables", "sentence"), CASES)
def test_what_is_missing_is_named(
    tmp_path: Path, script: str, programs: dict[str, str], variables: dict[str, str], sentence: str
) -> None:
    assert said(tmp_path, script, programs=programs, **variables).startswith(sentence)
